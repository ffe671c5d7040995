"""The page on utility against privacy, made from the records of ``utility`` protocols alone: the paper's Fig. 12.

The same records give the same bytes, in any order.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from gradshape_bench.protocols import meaning
from gradshape_bench.records.privacy_ledger import assumption, epsilon, ledger
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import cells, markdown, page
from gradshape_bench.report.ordering import case_order
from gradshape_bench.verdict import Verdict

_PROTOCOL = "utility"

_INTRODUCTION = """\
# Utility against privacy

What clipping and noise cost on clean data, and which (ε, δ) they buy: the paper's Fig. 12. This page is generated from
the results file by `gradshape privacy`; edits to it are lost.

A row is a clipping norm C, a column the noise σ, the standard deviation on the sum of the clipped gradients. A cell has
three lines: test accuracy with its 95 % interval over the seeds; the utility loss, the relative accuracy drop against
plain training, with ✓ or ✗ where the case has thresholds (? where the interval leaves it open); and the nominal ε / the
ε that holds.
"""

_EMPTY = (
    "No case without an attack has been measured. `pytest suites/test_privacy.py` does, and makes this page at its end."
)


def concerns(record: Record) -> bool:
    """Return whether the record is shown on this page instead of the leaderboard."""
    return record.protocol.partition("_")[0] == _PROTOCOL


def render(records: Iterable[Record]) -> str:
    """Render the page; records of other protocols are left out.

    >>> "No case" in render([])
    True
    """
    groups: defaultdict[tuple[str, ...], list[Record]] = defaultdict(list)
    for record in sorted(filter(concerns, records), key=case_order):
        groups[record.scale, record.dataset, record.model, record.protocol].append(record)
    blocks = [_INTRODUCTION, *(block for group in groups.values() for block in _section(group))]
    return "\n\n".join(block.strip("\n") for block in (blocks if groups else [*blocks, _EMPTY])) + "\n"


def write(records: Sequence[Record], path: Path) -> list[str]:
    """Write the page to ``path``; see :func:`gradshape_bench.report.page.write`."""
    return page.write(render, records, path)


def _section(records: Sequence[Record]) -> list[str]:
    first = records[0]
    title = markdown.escape(f"{first.dataset}, {first.model}, {first.protocol} ({first.scale} scale)")
    measured = [record for record in records if record.status is Status.OK]
    blocks = [f"## {title}", markdown.escape(meaning(first.protocol) or "")]
    if measured:
        blocks += [_setup(measured), _table(measured), _footnote(measured)]
    others = [
        "- " + markdown.escape(f"{record.case}: {record.status.value}: {record.reason or 'no reason recorded'}")
        for record in records
        if record.status is not Status.OK
    ]
    return [block for block in blocks if block] + (["Not measured:", "\n".join(others)] if others else [])


def _setup(records: Sequence[Record]) -> str:
    names = ("train_rows", "optimizer", "lr", "batch_size", "epochs")
    values = {
        name: " / ".join(sorted({str(record.details.get(name, "unknown")) for record in records})) for name in names
    }
    text = "{train_rows} training rows; {optimizer}, learning rate {lr}, batch size {batch_size}, {epochs} epochs."
    return markdown.escape(text.format(**values))


def _table(records: Sequence[Record]) -> str:
    by_setting: defaultdict[tuple[float | None, float], list[str]] = defaultdict(list)
    for record in records:
        spent = ledger(record)
        by_setting[spent.get("sensitivity"), spent.get("noise_std") or 0.0].append(_cell(record))
    # The weakest clipping comes first, as everywhere; None is no bound.
    norms = sorted({norm for norm, _ in by_setting}, key=lambda norm: -float("inf") if norm is None else -norm)
    stds = sorted({std for _, std in by_setting})
    rows = [
        ["none" if norm is None else f"{norm:g}", *("<br>".join(by_setting.get((norm, std), ["-"])) for std in stds)]
        for norm in norms
    ]
    return markdown.table(rows, ["C", *("no noise" if std == 0 else f"σ = {std:g}" for std in stds)])


def _cell(record: Record) -> str:
    spent = ledger(record)
    accuracy, loss = (record.metrics.get(name) for name in ("accuracy_clean", "utility_loss"))
    both = f"ε {epsilon(spent.get('nominal_epsilon'))} / {epsilon(spent.get('epsilon'))}" if spent else "ε not recorded"
    shown = "no value" if loss is None else cells.number(loss.value)
    return "<br>".join([cells.estimate(accuracy) or "no value", f"loss {shown}{_mark(record)}", both])


def _mark(record: Record) -> str:
    if record.verdict is None:
        return ""
    return f" {'✗' if record.missed else '✓'}{'?' if record.verdict is Verdict.INCONCLUSIVE else ''}"


def _footnote(records: Sequence[Record]) -> str:
    ledgers = [ledger(record) for record in records if ledger(record)]
    deltas = " / ".join(sorted({f"{spent['delta']:g}" for spent in ledgers}))
    accountants = " / ".join(sorted({str(spent["accountant"]) for spent in ledgers}))
    words = " ".join(sorted({assumption(spent["sampling"]) for spent in ledgers}))
    return markdown.escape(f"δ = {deltas}; accountant {accountants}. {words}") if ledgers else ""
