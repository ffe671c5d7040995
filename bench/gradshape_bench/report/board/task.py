"""A task of the board: the records of one data set and model at one scale, whatever the protocol."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from gradshape_bench.records.record import Record
from gradshape_bench.report.board.place import task_page
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.threats import Threat, threat


@dataclass(frozen=True)
class BoardTask:
    """One data set and model at one scale.

    Attributes:
        scale, dataset, model: labels.
        groups: its records, one group a protocol.
    """

    scale: str
    dataset: str
    model: str
    groups: Sequence[RecordGroup]

    @property
    def page(self) -> str:
        """The name of its page."""
        return task_page(self.scale, self.dataset, self.model)

    @property
    def name(self) -> str:
        """Its name, for a reader."""
        return f"{self.dataset}, {self.model}"

    @cached_property
    def records(self) -> list[Record]:
        """All of its records, in the order of reports."""
        return [record for group in self.groups for record in group.records]


def tasks_of(groups: Iterable[RecordGroup]) -> list[BoardTask]:
    """Gather the groups of each task, in the order of reports; those that only look inside a training come last."""
    found: dict[tuple[str, str, str], list[RecordGroup]] = {}
    for group in groups:
        found.setdefault((group.scale, group.dataset, group.model), []).append(group)
    return [
        BoardTask(*key, groups=sorted(own, key=lambda group: threat(group.records) is Threat.NONE))
        for key, own in found.items()
    ]
