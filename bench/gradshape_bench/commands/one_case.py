"""One case of a results file, by its id."""

import argparse

from gradshape_bench.case_names import unknown_case
from gradshape_bench.commands.choices import add_scale
from gradshape_bench.commands.command import Parser
from gradshape_bench.commands.results_argument import add_results, some_records
from gradshape_bench.records.record import Record


def add_case(parser: Parser) -> None:
    """Add the arguments ``CASE``, ``RESULTS`` and ``--scale``."""
    parser.add_argument("case", metavar="CASE", help="id of the case, as `gradshape list` shows it")
    add_results(parser)
    add_scale(parser, "the case at this scale, where the file has it at both")


def records_of_case(options: argparse.Namespace) -> list[Record]:
    """Return the records of the case: one, or one for each scale.

    Raises:
        OSError: the results file is not there, or cannot be read.
        ValueError: it has no such case; near matches are listed.
    """
    records = some_records(options.results)
    found = [record for record in records if record.case == options.case]
    if not found:
        raise unknown_case(options.case, [record.case for record in records], where=f"in {options.results}")
    at_scale = [record for record in found if options.scale is None or record.scale == options.scale.value]
    if not at_scale:
        raise ValueError(f"{options.case}: not at {options.scale.value} scale in {options.results}")
    return at_scale
