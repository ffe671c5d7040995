"""The commands ``gradshape baseline`` and ``gradshape compare``."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from gradshape import _validate
from gradshape_bench.commands.command import Command, Parser
from gradshape_bench.commands.results_argument import add_results
from gradshape_bench.gate import baseline, sources
from gradshape_bench.gate.comparison import compare
from gradshape_bench.gate.outcome import Allowed, ExitStatus, outcome
from gradshape_bench.gate.rules import DEFAULT_RULES, Rule, parse_rule, parse_rules
from gradshape_bench.gate.snapshot import Key, Snapshot
from gradshape_bench.gate.table import render
from gradshape_bench.options import parse_confidence
from gradshape_bench.records.pending import Pending
from gradshape_bench.report.cells import count

_BASELINE = Path("reports", "baseline.json")
_DEFAULTS = " ".join(map(str, DEFAULT_RULES))
Value = TypeVar("Value")


def _add_baseline_arguments(parser: Parser) -> None:
    add_results(parser)
    parser.add_argument(
        "--output", type=Path, default=_BASELINE, metavar="FILE", help="where to write (default: %(default)s)"
    )
    _add_rules(parser, "metric to freeze, as the rule that `compare` will be given; may be repeated")


def _add_compare_arguments(parser: Parser) -> None:
    parser.add_argument("base", type=Path, metavar="BASE", help="results file or baseline of the earlier run")
    parser.add_argument("new", type=Path, metavar="NEW", help="results file or baseline of the later run")
    _add_rules(
        parser,
        "what counts: METRIC:+X (worse by more than X), METRIC:+X%% (of the earlier value) or METRIC:+X,+Y%% (by more "
        f"than both); may be repeated, and takes the place of the default: {_DEFAULTS}",
    )
    parser.add_argument(
        "-k", dest="only", action="append", metavar="TEXT", help="compare cases whose id holds TEXT; may be repeated"
    )
    parser.add_argument(
        "--across-machines",
        action="store_true",
        help="compare numbers that were measured on different machines or with other versions of libraries",
    )
    parser.add_argument(
        "--confidence",
        default="0.95",
        metavar="P",
        help="confidence that all that is called worse or better is so (default: %(default)s)",
    )
    parser.add_argument(
        "--strict", action="store_true", help="also exit with 1 if an undecided metric looks worse than its rule allows"
    )
    parser.add_argument(
        "--allow",
        action="append",
        default=[],
        metavar="|".join(one.value for one in Allowed),
        help="take no offence at cases of BASE that are missing, or not comparable, because the change means it so; "
        "may be repeated",
    )


def _add_rules(parser: Parser, purpose: str) -> None:
    parser.add_argument("--fail-on", action="append", default=[], metavar="RULE", help=purpose)


def _write_baseline(options: argparse.Namespace) -> int:
    rules = _parsed(options, "--fail-on", lambda: [*map(parse_rule, options.fail_on)])
    metrics = {rule.metric: None for rule in (*DEFAULT_RULES, *rules)}
    results, output = options.results, options.output
    if output.exists() and results.exists() and output.samefile(results):
        options.parser.error(f"--output {output}: this is the results file itself: name another")
    source = sources.load(results, metrics, whole=True)
    cases, remarks = sources.freezable(source)
    still_open = Pending(results).keys()
    if still_open:
        remarks = [*remarks, f"{count(len(still_open), 'selected case')} not measured yet, by a run that was ended"]
    for remark in remarks:
        print(remark, file=sys.stderr)
    baseline.write(output, cases)
    print(output)
    return 0


def _compare(options: argparse.Namespace) -> int:
    rules = _parsed(options, "--fail-on", lambda: parse_rules(options.fail_on))
    confidence = _parsed(options, "--confidence", lambda: parse_confidence(options.confidence))
    allowed = _parsed(options, "--allow", lambda: [_allowed(text) for text in options.allow])
    try:
        base, new = _load_both(options, rules)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return ExitStatus.UNUSABLE
    found = compare(base, new, rules, confidence=confidence, across_machines=options.across_machines)
    result = outcome(found, allowed=allowed, strict=options.strict, demanded=rules if options.fail_on else ())
    print(render(found, result), end="")
    return result.status


def _allowed(text: str) -> Allowed:
    return _validate.member_called("fault", Allowed, text)


def _load_both(
    options: argparse.Namespace, rules: Iterable[Rule]
) -> tuple[Mapping[Key, Snapshot], Mapping[Key, Snapshot]]:
    metrics = [rule.metric for rule in rules]
    sides = []
    for path, whole in ((options.base, True), (options.new, False)):
        source = sources.load(path, metrics, whole=whole)
        for remark in source.remarks:
            print(remark, file=sys.stderr)
        cases = _selected(source.cases, options.only)
        if not cases:
            texts = " or ".join(map(repr, options.only))
            raise ValueError(f"{path}: none of its {count(len(source.cases), 'case')} has an id with {texts}")
        if whole:
            sources.refuse_outdated(path, cases)
        sides.append(cases if whole else _measured(path, cases))
    return sides[0], sides[1]


def _measured(path: Path, cases: Mapping[Key, Snapshot]) -> Mapping[Key, Snapshot]:
    """Leave out what the later run has not measured: of the records of a run before it nothing can be told."""
    outdated = sources.outdated(path, cases)
    if outdated:
        said = f"{count(len(outdated), 'case')} of {path}: selected by a run that was ended: run it again"
        print(said, file=sys.stderr)
    return {key: case for key, case in cases.items() if key not in outdated}


def _selected(cases: Mapping[Key, Snapshot], only: Sequence[str] | None) -> Mapping[Key, Snapshot]:
    if not only:
        return cases
    return {key: case for key, case in cases.items() if any(text in case.case for text in only)}


def _parsed(options: argparse.Namespace, option: str, parse: Callable[[], Value]) -> Value:
    try:
        return parse()
    except ValueError as error:
        parser: argparse.ArgumentParser = options.parser
        parser.error(f"{option}: {error}")


BASELINE = Command(
    "Freeze results, for later runs to be compared with, and print the path of the baseline.",
    _add_baseline_arguments,
    _write_baseline,
)
COMPARE = Command(
    "Compare two runs case by case, seed by seed, and print the verdict as Markdown. A metric is worse if it got "
    "worse by more than its rule allows and beyond chance; what is called worse or better is so with the stated "
    "confidence for all cases together. The exit status is 0 if nothing is worse; 1 if a case is worse, or failed, "
    "crashed, diverged or ran out of time and had been measured before; and 2 if there is nothing to rely on, as "
    "an input is unusable, no case could be compared, or a case of BASE is missing, was skipped or cannot be "
    "compared any more.",
    _add_compare_arguments,
    _compare,
    error_status=ExitStatus.UNUSABLE,
)
