"""``gradshape merge``: one results file of those of several shards."""

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path

from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.results_argument import existing
from gradshape_bench.options import RESULTS
from gradshape_bench.records.merging import Merged, merge
from gradshape_bench.records.store import described
from gradshape_bench.report.beside import write_pages
from gradshape_bench.report.cells import count

_SHOWN = 20


def _add_arguments(parser: Parser) -> None:
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results files to join")
    parser.add_argument(
        "--output", type=Path, default=RESULTS, metavar="FILE", help="results file to write (default: %(default)s)"
    )
    parser.add_argument(
        "--take-later",
        action="store_true",
        help="where two files have records of one case with other seeds or another definition, take that of the file "
        "that is named later",
    )


def _run(options: argparse.Namespace) -> int:
    files = [existing(path) for path in options.files]
    merged = merge(files, later=options.take_later)
    merged.write(options.output, inputs=files)
    for remark in [*_remarks(merged), *write_pages(merged.records, options.output)[1]]:
        print(remark, file=sys.stderr)
    print(f"{options.output}: {count(len(merged.records), 'case')} of {count(len(files), 'file')}")
    return 1 if merged.missing else 0


def _remarks(merged: Merged) -> Iterable[str]:
    if merged.left_out:
        yield described(merged.left_out)
    for path in merged.unlisted:
        yield f"{path}: there is no list of open cases beside it: whether all its cases were measured is not known"
    if len(merged.sources) > 1:
        shown = "; ".join(f"{source}: {', '.join(map(str, paths))}" for source, paths in merged.sources.items())
        yield f"different versions of gradshape measured these files: {shown}"
    if merged.missing:
        yield f"{count(len(merged.missing), 'selected case')} not measured:"
        missing = sorted(merged.missing)
        yield from (f"  {scale} {case}" for scale, case in missing[:_SHOWN])
        if len(missing) > _SHOWN:
            yield f"  and {len(missing) - _SHOWN:,} more"


COMMAND = Command(
    "Join the results files of the shards of a run (`pytest --shard I/N`), or of several machines, into one, and write "
    "its pages. Of a case that several files have, a measured record counts, and of these that of the file named last. "
    "Records of one case that differ in its definition, its rows or its seeds do not belong together: nothing is "
    "written then, unless --take-later says which of them counts. The exit status is 0 if every case is measured that "
    "any shard selected, 1 if some are missing, which are listed, and 2 if the files cannot be joined.",
    _add_arguments,
    _run,
    error_status=2,
)
