"""The leaderboard's table on attacks on single targets: counts of targets and of poison rows."""

from collections.abc import Iterable, Iterator

from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, markdown
from gradshape_bench.report.grouping import RecordGroup

_CONTROL = "success_rate_control"
_HEADERS = (
    "attack",
    "defence",
    "won",
    "control",
    "won, raw",
    "control, raw",
    "poison rows needed",
    "candidates",
    "no poison near",
    "misclassified",
)


def control(records: Iterable[Record]) -> str:
    """Return the cell of a control, with the success rate of its re-trainings; empty without a control."""
    rates = [record.metrics[_CONTROL] for record in records if _CONTROL in record.metrics]
    return "<br>".join(cells.estimate(rate) if rate.n else cells.NO_TARGET for rate in rates)


def blocks(group: RecordGroup) -> list[str]:
    """Return a table with a line for each case that has a control; nothing if no case has one."""
    lines = [_line(record) for record in group.records if _CONTROL in record.metrics]
    if not lines:
        return []
    # A column without values is left out.
    kept = [place for place in range(len(_HEADERS)) if any(line[place] for line in lines)]
    return [
        "Targets. *Won* and *control* are of those that there is poison for; *raw* counts a success whatever it does "
        "to the accuracy. *Candidates* are the poison rows that there were for a target. Nothing was tried against "
        "rows with *no poison near* enough, nor against rows that the base model *misclassified*:",
        markdown.table([[line[place] for place in kept] for line in lines], [_HEADERS[place] for place in kept]),
    ]


def _line(record: Record) -> list[str]:
    metrics = record.metrics
    return [
        markdown.escape(record.attack),
        markdown.escape(record.defense),
        *(cells.share(metrics.get(f"success_rate{kind}")) for kind in ("", "_control", "_raw", "_control_raw")),
        cells.estimate(metrics.get("poisons_needed"), 2),
        _range(_counts(record, "candidates")),
        *(_sum(_counts(record, f"targets_{name}")) for name in ("without_poison", "misclassified")),
    ]


def _counts(record: Record, name: str) -> list[int]:
    found = record.details.get(name)
    return list(_whole(found)) if isinstance(found, list | tuple) else []


def _whole(values: Iterable[object]) -> Iterator[int]:
    return (value for value in values if isinstance(value, int))


def _range(counts: list[int]) -> str:
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)})) if counts else ""


def _sum(counts: list[int]) -> str:
    return f"{sum(counts):,}" if counts else ""
