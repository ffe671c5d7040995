"""The worst case: of all attacks of one budget, the one that does the most to a defence."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from gradshape.metrics import Estimate, largest
from gradshape_bench.records.record import Record
from gradshape_bench.report import headline
from gradshape_bench.report.board.budgets import budget
from gradshape_bench.report.grouping import RecordGroup


@dataclass(frozen=True)
class Worst:
    """The worst of several attacks against one defence.

    Attributes:
        damage: what it does, with an interval that holds the largest of the true values where the records have the
            values of single seeds; else the largest of the ends of their intervals.
        attack: its label.
        run: how many of the attacks of this budget were measured against this defence.
    """

    damage: Estimate
    attack: str
    _: KW_ONLY
    run: int


def attacks_by_budget(group: RecordGroup) -> dict[int, list[str]]:
    """Return the attacks that add poison, by how much of it they are allowed, from the smallest budget to the largest.

    An attack whose records do not agree on its budget is left out.
    """
    budgets: dict[str, set[int | None]] = {}
    for record in group.records:
        if headline.damage(record) is not None:
            budgets.setdefault(record.attack, set()).add(budget(record))
    found: dict[int, list[str]] = {}
    for attack in group.attacks:
        known = budgets.get(attack, set())
        rows = known.pop() if len(known) == 1 else None
        if rows:
            found.setdefault(rows, []).append(attack)
    return dict(sorted(found.items()))


def worst(group: RecordGroup, attacks: Sequence[str], defense: str) -> Worst | None:
    """Return the worst of some attacks of one budget against a defence; ``None`` if none was measured."""
    measured: list[tuple[Record, Estimate]] = [
        (record, estimate)
        for attack in attacks
        for record in group.cell(attack, defense)
        if (estimate := headline.damage(record)) is not None and estimate.n
    ]
    if not measured:
        return None
    # The last bits depend on the stack that a victim was trained in and must not break a tie.
    record, estimate = max(measured, key=lambda pair: round(pair[1].value, 12))
    damage = largest([estimate for _, estimate in measured], confidence=record.confidence)
    return Worst(damage if len(measured) > 1 else estimate, record.attack, run=len({r.attack for r, _ in measured}))
