"""An engine that remembers what it does."""

from collections.abc import Callable, Iterator
from pathlib import Path

from gradshape_bench.cache import Cache
from gradshape_bench.case import Case
from gradshape_bench.engines import Bundle, Done, Failed, ThreadEngine
from gradshape_bench.jobs import AnyJob, Craft, Heartbeat, Train
from gradshape_bench.protocols import Measurement
from gradshape_bench.schedule import Scheduler


class Spy(ThreadEngine):
    """Does what the engine in threads does.

    Args:
        refuse: the error for a job that must not be done, or ``None``.
        limit: number of jobs after which the user interrupts.
        workers: bundles at once.

    Attributes:
        done: finished jobs, in order.
        bundles: what it was given, in order.
    """

    def __init__(
        self,
        *,
        refuse: Callable[[AnyJob], Exception | None] = lambda job: None,
        limit: int | None = None,
        workers: int = 1,
    ) -> None:
        super().__init__(workers=workers, max_memory=1 << 28)
        self.done: list[AnyJob] = []
        self.bundles: list[Bundle] = []
        self._refuse = refuse
        self._limit = limit

    def perform(self, bundle: Bundle, heartbeat: Heartbeat) -> Iterator[Done]:
        self.bundles.append(bundle)
        good = []
        for job in bundle:
            if error := self._refuse(job):
                yield job, Failed(error)
            else:
                good.append(job)
        for job, became in super().perform(good, heartbeat):
            if len(self.done) == self._limit:
                raise KeyboardInterrupt
            if not isinstance(became, Failed):
                self.done.append(job)
            yield job, became

    @property
    def keys(self) -> list[str]:
        return [job.key for job in self.done]

    @property
    def trained(self) -> list[Train]:
        return [job for job in self.done if isinstance(job, Train)]

    @property
    def crafted(self) -> list[Craft]:
        return [job for job in self.done if isinstance(job, Craft)]


def measured(folder: Path, case: Case, *beside: Case, engine: Spy | None = None) -> Measurement:
    """What a case's experiment finds, with other cases in the same session."""
    scheduler = Scheduler([*beside, case], cache=Cache(folder), engine=engine or Spy())
    return scheduler.measure(case).measurement
