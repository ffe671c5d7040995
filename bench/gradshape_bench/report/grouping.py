"""Groups of records that belong together in reports: those of one data set, model and protocol at one scale."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Self

from gradshape_bench.records.record import Record
from gradshape_bench.report.attack_controls import control_labels, no_better_than_control
from gradshape_bench.report.ordering import best_defense, case_order, defense_order


@dataclass(frozen=True)
class RecordGroup:
    """Records of one data set, model and protocol at one scale, in the order of reports.

    Scales are never mixed: a smoke run shrinks the experiment.
    """

    scale: str
    dataset: str
    model: str
    protocol: str
    records: tuple[Record, ...]

    @classmethod
    def of(cls, records: Iterable[Record]) -> list[Self]:
        """Group records, in the order of reports."""
        groups: defaultdict[tuple[str, str, str, str], list[Record]] = defaultdict(list)
        for record in sorted(records, key=case_order):
            groups[record.scale, record.dataset, record.model, record.protocol].append(record)
        return [cls(*key, records=tuple(group)) for key, group in groups.items()]

    @cached_property
    def attacks(self) -> list[str]:
        """Labels of the attacks, in order."""
        return list(dict.fromkeys(record.attack for record in self.records))

    @cached_property
    def defenses(self) -> list[str]:
        """Labels of the defences, from the weakest setting to the strongest."""
        return sorted({record.defense for record in self.records}, key=defense_order)

    @cached_property
    def controls(self) -> frozenset[str]:
        """Attacks that are controls of others; see :mod:`gradshape_bench.report.attack_controls`."""
        return control_labels(self.records)

    @cached_property
    def no_better_than_control(self) -> frozenset[str]:
        """Attacks that do no more than their controls, so that a defence that withstands them proves nothing."""
        return no_better_than_control(self.records)

    def best(self, attack: str) -> Record | None:
        """Return the record of the best defence against ``attack``; ``None`` if these records do not show one."""
        if attack in self.no_better_than_control:
            return None
        return self._best.get(attack)

    def cell(self, attack: str, defense: str) -> list[Record]:
        """Return the records of one attack and one defence."""
        return self._cells.get((attack, defense), [])

    @cached_property
    def _best(self) -> dict[str, Record | None]:
        rows: defaultdict[str, list[Record]] = defaultdict(list)
        for record in self.records:
            rows[record.attack].append(record)
        return {attack: best_defense(row) for attack, row in rows.items()}

    @cached_property
    def _cells(self) -> dict[tuple[str, str], list[Record]]:
        cells: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
        for record in self.records:
            cells[record.attack, record.defense].append(record)
        return dict(cells)
