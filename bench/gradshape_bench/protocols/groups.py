"""Groups of jobs that an experiment asks for together, and groups of their results."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar, overload

from torch import Tensor

from gradshape.training import TrainingResult
from gradshape_bench.jobs import Filter, Job, Train

R = TypeVar("R", covariant=True)


@dataclass(frozen=True, eq=False)
class Group(Generic[R]):
    """Jobs whose results are asked for together.

    Attributes:
        jobs: one for each result.
        filters: for each job, what asks the case's defence before; empty where it does not filter.
    """

    jobs: Sequence[Job[R]]
    filters: Sequence[Filter] = ()

    def filtered(self, masks: Sequence[Tensor]) -> Sequence[Job[R]]:
        """Return the jobs as they are done, now that the filters have said which rows to keep."""
        return self.jobs


@dataclass(frozen=True, eq=False)
class Trainings(Group[TrainingResult]):
    """Trainings, each on the rows that its filter keeps, if there is one."""

    jobs: Sequence[Train]

    def filtered(self, masks: Sequence[Tensor]) -> Sequence[Train]:
        """Return the trainings on the rows that are kept."""
        return [replace(job, keep=mask) for job, mask in zip(self.jobs, masks, strict=True)] if masks else self.jobs


@dataclass(frozen=True, eq=False)
class Results(Sequence[R]):
    """What the jobs of a group gave, in their order.

    Attributes:
        values: one a job.
        jobs: as they were done.
        filters, masks: the jobs that asked the case's defence before, and the rows that it kept: ``(N + n,)`` bool over
            train rows and then poison rows; empty where it does not filter.
    """

    values: Sequence[R]
    jobs: Sequence[Job[R]]
    filters: Sequence[Filter] = ()
    masks: Sequence[Tensor] = ()

    def __len__(self) -> int:
        return len(self.values)

    @overload
    def __getitem__(self, place: int) -> R: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[R]: ...
    def __getitem__(self, place: int | slice) -> R | Sequence[R]:
        return self.values[place]
