"""``gradshape list``: the cases of a results file, one line each."""

import argparse
from collections.abc import Callable, Iterator
from enum import Enum

from _pytest.mark.expression import Expression

from gradshape_bench.commands.choices import add_scale, member_of
from gradshape_bench.commands.command import Command, Parser, Refused
from gradshape_bench.commands.results_argument import add_results, some_records
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.case_line import case_lines
from gradshape_bench.report.cells import count
from gradshape_bench.report.ordering import case_order
from gradshape_bench.verdict import Verdict


class _Asked(Enum):
    """What can be asked of a verdict: a verdict, or that there is none."""

    PASS = Verdict.PASS.value
    FAIL = Verdict.FAIL.value
    INCONCLUSIVE = Verdict.INCONCLUSIVE.value
    NONE = "none"


def _add_arguments(parser: Parser) -> None:
    add_results(parser)
    parser.add_argument(
        "-k",
        dest="expression",
        metavar="TEXT",
        help="cases whose id holds the text, or that an expression like pytest's selects: 'digits and not vanilla'",
    )
    add_scale(parser, "cases of this scale")
    parser.add_argument(
        "--status",
        type=member_of(Status, "status"),
        action="append",
        metavar="STATUS",
        help=f"cases with this status, or one of several: {', '.join(status.value for status in Status)}",
    )
    parser.add_argument(
        "--verdict",
        type=member_of(_Asked, "verdict"),
        action="append",
        metavar="VERDICT",
        help="cases whose worst verdict is this, or one of several: pass, fail, inconclusive, none",
    )
    parser.add_argument("--missed", action="store_true", help="cases that missed a threshold, or could not be measured")


def _run(options: argparse.Namespace) -> int:
    records = some_records(options.results)
    filters = list(_filters(options))
    chosen = [record for record in records if all(passes(record) for passes in filters)]
    if not chosen:
        raise Refused(f"none of {count(len(records), 'case')} in {options.results} is such a case")
    for line in case_lines(sorted(chosen, key=case_order)):
        print(line)
    return 0


def _filters(options: argparse.Namespace) -> Iterator[Callable[[Record], bool]]:
    if options.expression is not None:
        yield _selects(options.expression)
    if options.scale is not None:
        yield lambda record: record.scale == options.scale.value
    if options.status:
        yield lambda record: record.status in options.status
    if options.verdict:
        asked = {verdict.value for verdict in options.verdict}
        yield lambda record: (_Asked.NONE.value if record.verdict is None else record.verdict.value) in asked
    if options.missed:
        yield lambda record: bool(record.missed) or record.status not in (Status.OK, Status.SKIPPED)


def _selects(text: str) -> Callable[[Record], bool]:
    """Return what tells whether a text selects a case: the text as it stands, or as an expression of such texts."""
    try:
        expression = Expression.compile(text)
    except SyntaxError:
        # Ids may hold characters that no expression can.
        return lambda record: text.lower() in record.case.lower()

    def passes(record: Record) -> bool:
        name = record.case.lower()

        def matches(part: str, /, **_: str | int | bool | None) -> bool:
            return part.lower() in name

        return text.lower() in name or expression.evaluate(matches)

    return passes


COMMAND = Command(
    "List the cases of a results file, one line each: scale, how it came out, what the attack did by its protocol's "
    "own metric, with the interval, and the id. `gradshape show ID` shows all of one case.",
    _add_arguments,
    _run,
)
