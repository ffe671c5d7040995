"""The reproduction ledger: every number that the paper states beside ours, made from records alone.

The same records give the same bytes, in any order.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from functools import cache
from pathlib import Path

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import cells, markdown, page
from gradshape_bench.report.counterparts import CasePatterns, Counterpart, counterpart, counterparts, stand_in
from gradshape_bench.report.ordering import label_order
from gradshape_bench.report.published import SOURCE, PublishedNumber, published_numbers
from gradshape_bench.verdict import Threshold

_INTRODUCTION = f"""\
# Reproduction ledger

Every number that the paper states in its text, tables and captions, beside what was measured here. This page is
generated from the results file by `gradshape ledger`; edits to it are lost. Source: {SOURCE}.

How a verdict comes about: *reproduced*, if the published number lies in our 95 % interval or within the tolerance of
our value (a relative accuracy drop: 0.005, ten rows of the test set, or 0.01 where two decimals are stated; an accuracy
or a success rate: 0.01; a ratio or a number of poison rows: 10 %), or if our value lies on the side of a published
bound; *differs* otherwise. *Not comparable* says why: the paper's own released analysis contradicts the number, or ours
is of other data that stand in for the paper's. Where the paper concludes an order from a number, such as "at most half
of that without DP", the remark says whether ours has it, too; point estimates decide. *Not run*: there is no result at
the paper's scale; `#` in the name of a missing case stands for any number.
"""


class Reproduction(Enum):
    """Whether our measurement reproduces a number of the paper."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Attributes:
        row: the published number.
        verdict: whether it is reproduced.
        ours: ids of cases with what they measured; empty if nothing was measured.
        scale: scale of these cases; ``None`` if nothing was measured.
        reason: why the number is not compared, or remarks on the comparison.
    """

    row: PublishedNumber
    verdict: Reproduction
    ours: tuple[tuple[str, Estimate], ...] = ()
    _: KW_ONLY
    scale: str | None = None
    reason: str = ""


# The size of the paper's experiments on single targets; the ledger remarks on smaller ones.
_TARGETS, _CANDIDATES, _EPOCHS, _FURTHER_EPOCHS = 100, 100, 100, 50


def entries(records: Iterable[Record]) -> list[Entry]:
    """Return one entry for each published number, in the paper's order.

    >>> {entry.verdict for entry in entries([])} == {Reproduction.NOT_RUN, Reproduction.NOT_COMPARABLE}
    True
    """
    measured = [record for record in records if record.status is Status.OK]
    return [_entry(row, measured) for row in published_numbers()]


def _entry(row: PublishedNumber, measured: Sequence[Record]) -> Entry:
    how = counterpart(row)
    if isinstance(how, str):
        return Entry(row, Reproduction.NOT_COMPARABLE, reason=how)
    for scale in ("paper", "smoke"):
        at_scale = [record for record in measured if record.scale == scale]
        found = [record for record in (_find(asked, at_scale) for asked in how.cases) if record is not None]
        if found:
            break
    else:
        return Entry(row, Reproduction.NOT_RUN, reason=f"{how.cases[0]} has no result")
    values = [(record, estimate) for record in found if (estimate := _value(how, record)) is not None]
    if not values:
        verdict = Reproduction.NOT_COMPARABLE if scale == "paper" else Reproduction.NOT_RUN
        return Entry(row, verdict, reason=_without(found[0], how))
    ours = tuple((record.case, estimate) for record, estimate in values)
    if scale != "paper":
        return Entry(
            row,
            Reproduction.NOT_RUN,
            ours,
            scale=scale,
            reason="measured at smoke scale only, which shrinks the experiment",
        )
    records = [record for record, _ in values]
    why = [*_stand_ins(row, records), *([how.caveat] if how.caveat else [])]
    if any(estimate.n == 0 for _, estimate in ours):
        why.append("no target could be attacked, so nothing is known")
    remarks = [*why, *_conclusion(how, values, at_scale), *([how.note] if how.note else []), *_sizes(how, records)]
    if why:
        return Entry(row, Reproduction.NOT_COMPARABLE, ours, scale=scale, reason="; ".join(remarks))
    same = len(ours) == len(how.cases) and all(_agrees(how, row.value, estimate) for _, estimate in ours)
    return Entry(
        row, Reproduction.REPRODUCED if same else Reproduction.DIFFERS, ours, scale=scale, reason="; ".join(remarks)
    )


def _find(asked: CasePatterns, records: Iterable[Record]) -> Record | None:
    """Return the record that is closest to the paper's experiment; of several, the one with the most poison."""
    ranked = [(rank, record) for record in records if (rank := asked.rank(record.case)) is not None]
    if not ranked:
        return None
    closest = min(rank for rank, _ in ranked)
    return max(
        (record for rank, record in ranked if rank == closest),
        key=lambda record: (label_order(record.attack), record.case),
    )


def _value(how: Counterpart, record: Record) -> Estimate | None:
    if how.by_definition is not None:
        return Estimate(how.by_definition, None, None, n=len(record.seeds))
    counts = record.details.get(how.metric)
    if how.metric not in record.metrics and isinstance(counts, list) and len(set(counts)) == 1:
        return Estimate(float(counts[0]), None, None, n=len(counts))
    return record.metrics.get(how.metric)


def _without(record: Record, how: Counterpart) -> str:
    why = "as no target was won" if how.metric == "poisons_needed" else f"as it has no {how.metric}"
    return f"{record.case} has no such number, {why}"


def _stand_ins(row: PublishedNumber, records: Iterable[Record]) -> list[str]:
    names = dict.fromkeys(name for record in records if (name := stand_in(row, record.case)) is not None)
    return [f"measured on the stand-in {name}, as {row.dataset} itself was not at hand" for name in names]


def _conclusion(how: Counterpart, values: Sequence[tuple[Record, Estimate]], records: Iterable[Record]) -> list[str]:
    """Remark whether the paper's conclusion from the number holds for ours, by the point estimates."""
    conclusion = how.conclusion
    if conclusion is None or not values or values[0][1].n == 0:
        return []
    record, own = values[0]
    bound, beside = conclusion.factor, ""
    if conclusion.other is not None:
        same = [other for other in records if other.case.split("-")[:3] == record.case.split("-")[:3]]
        other = _find(conclusion.other, same)
        found = None if other is None else _value(how, other)
        if found is None or found.n == 0 or found.value <= 0:
            return [f"its order, {conclusion.words}, cannot be told: there is nothing to compare with"]
        bound, beside = conclusion.factor * found.value, f" beside {cells.number(found.value, 4)}"
    holds = Threshold(how.metric, conclusion.relation, bound).holds(own.value)
    return [f"its order, {conclusion.words}, {'holds' if holds else 'does not hold'}{beside}"]


def _sizes(how: Counterpart, records: Iterable[Record]) -> list[str]:
    """Remark how much smaller than the paper's our experiments on single targets were."""
    found = []
    for record in records:
        details = record.details
        targets, without = details.get("targets"), details.get("targets_without_poison")
        if not isinstance(targets, int) or not isinstance(without, list):
            continue
        aimed, candidates = targets + sum(without), details.get("budget", 0)
        if how.metric != "utility_loss" and (aimed < _TARGETS or candidates < _CANDIDATES):
            found.append(
                f"ours: {aimed} targets with {candidates} candidates, the paper's: {_TARGETS} with {_CANDIDATES}"
            )
        trained = details.get("clean_epochs", 0), details.get("epochs", 0)
        if trained[0] < _EPOCHS or trained[1] < _FURTHER_EPOCHS:
            found.append(f"ours: {trained[0]} + {trained[1]} epochs, the paper's: {_EPOCHS} + {_FURTHER_EPOCHS}")
    return list(dict.fromkeys(found))


def _agrees(how: Counterpart, value: float, ours: Estimate) -> bool:
    if how.relation == "<":
        return ours.value < value + how.tolerance
    if how.relation == ">":
        return ours.value > value - how.tolerance
    inside = ours.low is not None and ours.high is not None and ours.low <= value <= ours.high
    return inside or abs(ours.value - value) <= how.tolerance


def render(records: Iterable[Record]) -> str:
    """Render the page.

    >>> "Reproduction ledger" in render([])
    True
    """
    lines = entries(records)
    counts = Counter(entry.verdict for entry in lines)
    tally = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Reproduction if counts[verdict])
    blocks = [_INTRODUCTION, f"{len(lines)} published numbers: {tally}."]
    for experiment in dict.fromkeys(entry.row.experiment for entry in lines):
        rows = [_cells(entry) for entry in lines if entry.row.experiment == experiment]
        headers = ["setting", "metric", "published", "ours", "scale", "verdict", "remark"]
        blocks += [f"## {markdown.escape(_title(experiment))}", markdown.table(rows, headers)]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def write(records: Sequence[Record], path: Path) -> list[str]:
    """Write the page to ``path``; see :func:`gradshape_bench.report.page.write`."""
    return page.write(render, records, path)


def concerns(record: Record) -> bool:
    """Return whether the ledger shows ``record``."""
    return _is_asked_for(record.case)


@cache
def _is_asked_for(case: str) -> bool:
    return any(asked.rank(case) is not None for _, how in counterparts() for asked in how.cases)


def _title(experiment: str) -> str:
    for prefix, word in (("fig", "Fig. "), ("table", "Table "), ("sec", "Section ")):
        if experiment.startswith(prefix):
            return word + experiment.removeprefix(prefix)
    return experiment


def _cells(entry: Entry) -> list[str]:
    row = entry.row
    how = counterpart(row)
    relation = how.relation if isinstance(how, Counterpart) else "="
    sign = "" if relation == "=" else f"{relation} "
    setting = [row.dataset, row.model, row.attack]
    setting += [f"intensity {row.intensity}"] if row.intensity else []
    setting += [row.optimizer] if row.optimizer else []
    setting += [f"C = {row.clip_norm:g}"] if row.clip_norm is not None else []
    setting += [f"σ = {row.noise:g}"] if row.noise else []
    ours = "<br>".join(f"{cells.estimate(estimate, 4)} ({markdown.escape(case)})" for case, estimate in entry.ours)
    remark = "; ".join(text for text in (entry.reason, row.note) if text)
    return [
        markdown.escape(", ".join(setting)),
        markdown.escape(row.metric),
        f"{markdown.escape(sign)}{row.value:g}",
        ours or "-",
        entry.scale or "-",
        f"**{entry.verdict.value}**"
        if entry.verdict in (Reproduction.REPRODUCED, Reproduction.DIFFERS)
        else entry.verdict.value,
        markdown.escape(remark),
    ]
