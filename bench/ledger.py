"""The reproduction ledger: every number that the paper states beside ours, from records alone.

The same records give the same bytes, in any order.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from bench import cells, markdown
from bench.published import SOURCE, Published, published
from bench.record import Record, Status
from bench.store import write_atomically
from gradshape.metrics import Estimate

_INTRODUCTION = f"""\
# Reproduction ledger

Every number that the paper states in its text, tables and captions, beside what was measured here. This page is
generated from the results file by `python -m bench ledger`; edits to it are lost. Source: {SOURCE}.

How a verdict comes about: *reproduced*, if the published number lies in our 95 % interval or within the tolerance of
our value (a relative accuracy drop: 0.005, ten rows of the test set; an accuracy: 0.01; a ratio: 10 %), or if our
value lies on the side of a published bound; *differs* otherwise. *Not comparable* says why: most of these are numbers
that the paper's own released analysis contradicts. *Not run*: there is no result at the paper's scale, or no such case
yet.
"""


class Verdict(Enum):
    """What our number says of the paper's."""

    REPRODUCED = "reproduced"
    DIFFERS = "differs"
    NOT_COMPARABLE = "not comparable"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Reading:
    """How a published number is measured here.

    Attributes:
        cases: ids of the cases that measure it; the number is a statement on all of them.
        metric: name of the metric in their records.
        relation: how ours should stand to it: ``=``, or ``<`` or ``>`` if the paper states a bound.
        tolerance: absolute difference that counts as none.
        caveat: why the comparison says nothing, although both numbers are there; empty if it does.
    """

    cases: tuple[str, ...]
    metric: str
    relation: str = "="
    tolerance: float = 0.0
    caveat: str = ""


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.

    Attributes:
        row: what the paper states.
        verdict: see :class:`Verdict`.
        ours: what was measured, with the id of the case; empty if nothing was.
        scale: at which scale; ``None`` if nothing was measured.
        reason: why the verdict is none, or what is to be known of it.
    """

    row: Published
    verdict: Verdict
    ours: tuple[tuple[str, Estimate], ...] = ()
    scale: str | None = None
    reason: str = ""


_RAD, _ACCURACY = 0.005, 0.01
_ATTACKS = {"random_lf": "label_flip", "slab_steinhardt": "sota"}
_FASHION = "fashion_mnist_34-lr"
_COUNTS_ROWS = "near a stationary point the ratio only counts rows: 10,800 / 4,320 = 2.5 for any split"
_SAME_SUM = "the released analysis sums the whole batch for both sides, so its number says nothing of the poison"
_TARGETED = "one-shot and multi-poison attacks have no case yet"


def reading(row: Published) -> Reading | str:
    """How ``row`` is measured here, or why it is not."""
    criterion = "a criterion, not a measurement"
    if row.experiment == "fig4":
        attack = f"{_ATTACKS[row.attack]}_{40 if row.intensity == 'overall' else round(100 * float(row.intensity))}"
        case = f"{_FASHION}-{attack}-{_defense(row)}"
        if row.metric == "rad":
            # "~" in the text: two decimals are stated.
            return Reading((case,), "rad_vs_vanilla", tolerance=0.01 if row.intensity == "overall" else _RAD)
        caveat = _SAME_SUM if row.optimizer.startswith("dp") else ""
        return Reading((f"{case}-gradients",), "magnitude_ratio", tolerance=0.1 * row.value, caveat=caveat)
    if row.experiment == "fig8":
        return Reading((f"{_FASHION}-sota_40-vanilla-clusters",), "poison_rows", tolerance=0.5)
    if row.experiment == "fig11":
        side = "poison" if "POISON" in row.note else "clean"
        case = f"{_FASHION}-{_ATTACKS[row.attack]}_{round(100 * float(row.intensity))}-vanilla-gradients"
        relation = "<" if "below" in row.note else ">"
        return Reading((case,), f"train_accuracy_{side}", relation)
    if row.experiment == "fig10":
        return Reading((f"two_moons-mlp-no_attack-{_defense(row)}-boundary",), "accuracy_clean", tolerance=_ACCURACY)
    if row.experiment == "sec6.1" and row.metric == "accuracy":
        return Reading(
            tuple(f"{name}-lr-label_flip_10-vanilla" for name in ("fashion_mnist", "cifar10")), "accuracy_vanilla", "<"
        )
    if row.experiment == "sec6.1" or row.dataset == "all":
        return criterion
    if (row.experiment, row.metric, row.value) == ("fig6", "n_poisons", 5.43):
        return "no released result file gives it"
    if (row.experiment, row.metric, row.value) == ("fig6", "success_rate", 0.0714):
        return "holds only with a two-sided accuracy filter"
    if row.experiment == "fig7" and row.optimizer.startswith("dp"):
        return _SAME_SUM
    return ""


def _defense(row: Published) -> str:
    if row.clip_norm is None:
        return "vanilla"
    optimizer = "adam" if "adam" in row.optimizer else "sgd"
    noise = f"_s{row.noise:g}" if row.noise else ""
    return f"dp_{optimizer}_c{row.clip_norm:g}{noise}"


def entries(records: Iterable[Record]) -> list[Entry]:
    """One entry a published number, in the paper's order.

    >>> {entry.verdict for entry in entries([])} == {Verdict.NOT_RUN, Verdict.NOT_COMPARABLE}
    True
    """
    measured = {(r.scale, r.case): r for r in records if r.status is Status.OK}
    return [_entry(row, measured) for row in published()]


def _entry(row: Published, measured: Mapping[tuple[str, str], Record]) -> Entry:
    how = reading(row)
    if isinstance(how, str):
        return Entry(row, Verdict.NOT_COMPARABLE if how else Verdict.NOT_RUN, reason=how or _TARGETED)
    for scale in ("paper", "smoke"):
        ours = _ours(how, scale, measured)
        if ours:
            break
    else:
        return Entry(row, Verdict.NOT_RUN, reason=f"{how.cases[0]} has no result")
    if scale != "paper":
        return Entry(row, Verdict.NOT_RUN, ours, scale, "measured at smoke scale only, which shrinks the experiment")
    if how.caveat:
        return Entry(row, Verdict.NOT_COMPARABLE, ours, scale, how.caveat)
    same = len(ours) == len(how.cases) and all(_agrees(how, row.value, estimate) for _, estimate in ours)
    reason = _COUNTS_ROWS if how.metric == "magnitude_ratio" else ""
    return Entry(row, Verdict.REPRODUCED if same else Verdict.DIFFERS, ours, scale, reason)


def _ours(how: Reading, scale: str, measured: Mapping[tuple[str, str], Record]) -> tuple[tuple[str, Estimate], ...]:
    found = []
    for case in how.cases:
        record = measured.get((scale, case))
        if record is None:
            continue
        estimate = record.metrics.get(how.metric)
        counts = record.details.get(how.metric)
        if estimate is None and isinstance(counts, list) and len(set(counts)) == 1:
            estimate = Estimate(float(counts[0]), None, None, len(counts))
        if estimate is not None:
            found.append((case, estimate))
    return tuple(found)


def _agrees(how: Reading, value: float, ours: Estimate) -> bool:
    if how.relation == "<":
        return ours.value < value
    if how.relation == ">":
        return ours.value > value
    inside = ours.low is not None and ours.high is not None and ours.low <= value <= ours.high
    return inside or abs(ours.value - value) <= how.tolerance


def render(records: Iterable[Record]) -> str:
    """The page.

    >>> "Reproduction ledger" in render([])
    True
    """
    lines = entries(records)
    counts = Counter(entry.verdict for entry in lines)
    tally = ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict])
    blocks = [_INTRODUCTION, f"{len(lines)} published numbers: {tally}."]
    for experiment in dict.fromkeys(entry.row.experiment for entry in lines):
        rows = [_cells(entry) for entry in lines if entry.row.experiment == experiment]
        headers = ["setting", "metric", "published", "ours", "scale", "verdict", "remark"]
        blocks += [f"## {markdown.escape(_title(experiment))}", markdown.table(rows, headers)]
    return "\n\n".join(block.strip("\n") for block in blocks) + "\n"


def write(records: Sequence[Record], path: Path) -> None:
    """Write the page to ``path``, so that a reader sees either the old one or the new one."""
    write_atomically(path, [render(records)])


def concerns(record: Record) -> bool:
    """Whether the ledger shows ``record``."""
    readings = [how for how in map(reading, published()) if isinstance(how, Reading)]
    return any(record.case in how.cases for how in readings)


def _title(experiment: str) -> str:
    for prefix, word in (("fig", "Fig. "), ("table", "Table "), ("sec", "Section ")):
        if experiment.startswith(prefix):
            return word + experiment.removeprefix(prefix)
    return experiment


def _cells(entry: Entry) -> list[str]:
    row = entry.row
    how = reading(row)
    relation = how.relation if isinstance(how, Reading) else "="
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
        f"**{entry.verdict.value}**" if entry.verdict in (Verdict.REPRODUCED, Verdict.DIFFERS) else entry.verdict.value,
        markdown.escape(remark),
    ]
