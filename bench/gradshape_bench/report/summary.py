"""The summary in the terminal at the end of a run: what was attacked, what failed and why, and what that took."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gradshape_bench.plain_text import plain
from gradshape_bench.records.record import MISSING_DATA, NOT_APPLICABLE, Record, Status
from gradshape_bench.report import tradeoff
from gradshape_bench.report.cells import count, number
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.headline import damage, headline
from gradshape_bench.report.markdown import one_line
from gradshape_bench.report.ordering import case_order, is_control
from gradshape_bench.report.terminal import WIDTH, Line, Tone, aligned, columns, wrapped
from gradshape_bench.verdict import Judgement, Verdict

ROWS = 15
REASONS = 10

_HEADERS = ("task", "attack", "metric", "vanilla", "best", "best defence", "pass/fail/?")
# Stands above rows of two lines.
_LEGEND = (
    "task: attack, and below it the damage without a defence (vanilla) and with the best one, and how many cases "
    "(passed/failed/inconclusive)"
)
_RIGHT = (3, 4, 6)
_LONGEST_REASON = 300


def summarize(records: Sequence[Record], *, width: int = WIDTH) -> list[Line]:
    """Return lines on the cases of one run, at most ``width`` columns wide; none without records.

    A row is an attack on a task, the worst first: rows with missed thresholds, then with open verdicts, then those
    that are harmed most. ``metric`` is what its protocol measures of the attack's damage (less is better); ``vanilla``
    and ``best`` are its values without a defence and with the best one, as the leaderboard has it; ``?`` counts
    inconclusive verdicts. Experiments that rank no defences, such as clusters and gradients, are only counted. Names
    are never cut: where the table is too wide, each row takes two lines.
    """
    if not records:
        return []
    rows = sorted(_rows(records), key=lambda row: row.order)
    lines = _table(rows[:ROWS], width)
    if len(rows) > ROWS:
        lines += _wrapped(f"... and {count(len(rows) - ROWS, 'more row')} in the leaderboard", width)
    lines += _missed(records, width)
    lines += _unmeasured(records, width)
    lines += _wrapped(tally(records), width, _tone(records))
    for told in (_added_seeds(records), _jobs(records)):
        lines += _wrapped(told, width) if told else []
    return lines


def tally(records: Sequence[Record]) -> str:
    """Count how the cases came out, each once; inconclusive verdicts are counted again, at the end.

    >>> tally([])
    '0 cases'
    """
    counts = Counter(_outcome(record) for record in records)
    skipped = [record.reason or "" for record in records if record.status is Status.SKIPPED]
    because = ((MISSING_DATA, "for missing data"), (NOT_APPLICABLE, "as they do not apply"))
    told = [(sum(reason.startswith(start) for reason in skipped), words) for start, words in because]
    why = ", ".join(f"{number} {words}" for number, words in told if number)
    parts = [
        f"{counts[outcome]} {outcome if counts[outcome] == 1 else plural}"
        + (f" ({why})" if outcome == "skipped" and why else "")
        for outcome, plural in _OUTCOMES.items()
        if counts[outcome]
    ]
    inconclusive = sum(record.verdict is Verdict.INCONCLUSIVE for record in records)
    total = f"{len(records)} case{'' if len(records) == 1 else 's'}"
    line = f"{total}: {', '.join(parts)}" if parts else total
    return f"{line}; {inconclusive} inconclusive" if inconclusive else line


_OUTCOMES = {
    "passed": "passed",
    "missed thresholds": "missed thresholds",
    "expected failure": "expected failures",
    "unexpected pass": "unexpected passes",
    "skipped": "skipped",
    "failed": "failed",
    "crashed": "crashed",
    "diverged": "diverged",
    "timeout": "timeouts",
}


def _outcome(record: Record) -> str:
    if record.status is not Status.OK:
        return str(record.status.value)
    if record.expected_failure is not None:
        return "expected failure" if record.missed else "unexpected pass"
    return "missed thresholds" if record.missed else "passed"


def _tone(records: Sequence[Record]) -> Tone:
    outcomes = {_outcome(record) for record in records}
    if outcomes & {"missed thresholds", "failed", "crashed", "diverged", "timeout"}:
        return Tone.BAD
    unsure = any(record.verdict is Verdict.INCONCLUSIVE for record in records)
    return Tone.UNSURE if unsure or outcomes & {"skipped", "unexpected pass"} else Tone.GOOD


# The table.


@dataclass(frozen=True)
class _Row:
    """An attack on a task: its cells, its tone, and what it is sorted by."""

    cells: tuple[str, ...]
    tone: Tone
    order: tuple[object, ...]


def _rows(records: Sequence[Record]) -> list[_Row]:
    groups = [
        (group, attack, own)
        for group in RecordGroup.of(record for record in records if _is_ranked(record))
        for attack in group.attacks
        if (own := [record for record in group.records if record.attack == attack])
    ]
    # What all rows share is not shown.
    varying = [name for name in ("protocol", "scale") if len({getattr(group, name) for group, _, _ in groups}) > 1]
    return [_row(group, attack, own, ("dataset", "model", *varying)) for group, attack, own in groups]


def _is_ranked(record: Record) -> bool:
    shown = headline(record)
    return record.status is Status.OK and shown is not None and shown.ranks and not tradeoff.concerns(record)


def _row(group: RecordGroup, attack: str, records: Sequence[Record], names: Sequence[str]) -> _Row:
    shown = headline(records[0])
    metric = "" if shown is None else shown.damage
    best = group.best(attack) or _only(records)
    vanilla = next((record for record in records if record.defense == "vanilla"), None)
    verdicts = Counter(record.verdict for record in records)
    missed = sum(bool(record.missed) and record.expected_failure is None for record in records)
    harm = max((estimate.value for record in records if (estimate := damage(record)) and estimate.n), default=0.0)
    # A ratio of errors is 1 where the others are 0.
    harm -= metric.startswith("mse_ratio")
    cells = (
        ", ".join(one_line(getattr(group, name)) for name in names),
        one_line(attack),
        metric,
        _value(vanilla),
        _value(best),
        "-" if best is None else one_line(best.defense),
        "/".join(str(verdicts[verdict]) for verdict in (Verdict.PASS, Verdict.FAIL, Verdict.INCONCLUSIVE)),
    )
    unsure = verdicts[Verdict.INCONCLUSIVE]
    tone = Tone.BAD if missed else Tone.UNSURE if unsure else Tone.PLAIN
    return _Row(cells, tone, (-missed, -unsure, -round(harm, 9), case_order(records[0])))


def _only(records: Sequence[Record]) -> Record | None:
    """Return the one record with a defence if there is no other; there is no best of one, but it is what was run."""
    defended = [record for record in records if record.defense != "vanilla" and not is_control(record)]
    return defended[0] if len(defended) == len(records) == 1 else None


def _value(record: Record | None) -> str:
    estimate = None if record is None else damage(record)
    return number(estimate.value) if estimate and estimate.n else "-"


def _table(rows: Sequence[_Row], width: int) -> list[Line]:
    if not rows:
        return []
    head, *body = aligned([_HEADERS, *(row.cells for row in rows)], right=_RIGHT)
    widest = max(map(columns, (head, *body)))
    if widest <= width:
        shown = [Line(text, row.tone) for text, row in zip(body, rows, strict=True)]
        return [Line(head), Line("-" * widest), *shown]
    return [*_wrapped(_LEGEND, width), *(Line(text, row.tone) for row in rows for text in _two_lines(row, width))]


def _two_lines(row: _Row, width: int) -> Iterator[str]:
    task, attack, metric, vanilla, best, defense, verdicts = row.cells
    yield from wrapped(f"{task}: {attack}", width)
    measured = [f"{vanilla} vanilla"] if vanilla != "-" else []
    # Vanilla may be the best itself.
    measured += [f"{best} {defense}"] if defense not in ("-", "vanilla") else []
    told = [metric, ", ".join(measured) or "-", f"({verdicts})"]
    yield from wrapped(" ".join(told), width, first="  ", indent="    ")


# What failed.


def _missed(records: Sequence[Record], width: int) -> list[Line]:
    missed = [
        (record, judgement)
        for record in sorted(records, key=case_order)
        if record.expected_failure is None
        for judgement in record.missed
    ]
    # What is sure comes first, and of that what lies farthest from its bound.
    missed.sort(key=lambda pair: (pair[1].verdict is not Verdict.FAIL, -_excess(pair[1])))
    lines = [
        line
        for record, judgement in missed[:REASONS]
        for line in _wrapped(_plain(f"missed: {record.case}: {judgement}"), width, Tone.BAD)
    ]
    if len(missed) > REASONS:
        lines += _wrapped(f"... and {count(len(missed) - REASONS, 'more missed threshold')}", width, Tone.BAD)
    return lines


def _excess(judgement: Judgement) -> float:
    distance = judgement.estimate.value - judgement.threshold.bound
    return distance if judgement.threshold.op in ("<", "<=") else -distance


def _unmeasured(records: Sequence[Record], width: int) -> list[Line]:
    """Name the reasons why cases failed, crashed and the like, each once with its first case."""
    reasons: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for record in records:
        if record.status not in (Status.OK, Status.SKIPPED):
            reasons[record.status.value, record.reason or "no reason recorded"].append(record.case)
    lines: list[Line] = []
    for (status, reason), cases in list(reasons.items())[:REASONS]:
        more = f", and {len(cases) - 1} more" if len(cases) > 1 else ""
        lines += _wrapped(f"{status}: {_plain(reason)} ({one_line(cases[0])}{more})", width, Tone.BAD)
    if len(reasons) > REASONS:
        lines += _wrapped(f"... and {len(reasons) - REASONS} more reasons in the results file", width, Tone.BAD)
    return lines


# What it took.


def _added_seeds(records: Sequence[Record]) -> str:
    grown = [len(record.seeds) - record.looks[0] for record in records if len(record.looks) > 1]
    if not grown:
        return ""
    return f"seeds: {count(sum(grown), 'seed')} added to {count(len(grown), 'case')} while verdicts were inconclusive"


def _jobs(records: Sequence[Record]) -> str:
    counted = [(record.jobs, record.cached_jobs or 0) for record in records if record.jobs is not None]
    if not counted:
        return ""
    jobs, cached = (sum(numbers) for numbers in zip(*counted, strict=True))
    return f"jobs: {cached:,} of {jobs:,} from the cache; one that several cases share counts for each"


def _plain(text: str) -> str:
    return plain(one_line(text), longest=_LONGEST_REASON)


def _wrapped(text: str, width: int, tone: Tone = Tone.PLAIN) -> list[Line]:
    return [Line(line, tone) for line in wrapped(text, width)]
