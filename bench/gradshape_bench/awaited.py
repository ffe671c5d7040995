"""Which experiments wait for which jobs, and which jobs the engine has taken."""

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from gradshape.data import Dataset
from gradshape_bench.cache import Claim
from gradshape_bench.case import Case
from gradshape_bench.clean_model import trivial_scores
from gradshape_bench.jobs import AnyJob
from gradshape_bench.measured_case import MeasuredCase
from gradshape_bench.protocols import Experiment, Measurement


@dataclass(eq=False)
class Run:
    """The experiment of a case under way.

    Attributes:
        pending: jobs whose results it waits for; ``None`` until it has begun.
        missing: those of these jobs that are not finished, by key.
        trainings, others: the same apart, so that none has to be looked for among all.
        spent: computing time of its jobs in seconds, by key.
        cached: keys of those of its jobs that were found in the cache.
    """

    case: Case
    experiment: Experiment
    dataset: Dataset
    pending: Sequence[AnyJob] | None = None
    missing: dict[str, AnyJob] = field(default_factory=dict)
    trainings: dict[str, AnyJob] = field(default_factory=dict)
    others: dict[str, AnyJob] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    cached: set[str] = field(default_factory=set)

    def miss(self, job: AnyJob) -> None:
        """Note a job that is not finished."""
        self.missing[job.key] = (self.trainings if job.stackable else self.others)[job.key] = job

    def has(self, key: str) -> None:
        """Note that a job that was missing is finished."""
        job = self.missing.pop(key)
        del (self.trainings if job.stackable else self.others)[key]

    def ended(self, measurement: Measurement) -> MeasuredCase:
        """Return what the case measured, with what its jobs cost."""
        costs = {
            name: sum(self.spent[job.key] for job in jobs) / len(jobs)
            for name, jobs in measurement.timed.items()
            if jobs
        }
        return MeasuredCase(
            replace(measurement, timed={}),
            self.dataset.fingerprint,
            len(self.dataset.train),
            seconds=sum(self.spent.values()),
            costs=costs,
            jobs=len(self.spent),
            cached_jobs=len(self.cached),
            trivial=trivial_scores(self.dataset),
        )


@dataclass(eq=False)
class Taken:
    """A bundle that the engine has taken.

    Attributes:
        claims: the claims on the jobs that it has not given back, by key.
        asked_for: what its jobs were asked for, in words.
    """

    claims: dict[str, Claim]
    asked_for: str


class Awaited:
    """The jobs that experiments wait for."""

    def __init__(self) -> None:
        self._runs: dict[str, list[Run]] = {}
        # Trainings that have been waited for, by stack and key.
        self._stacks: dict[Hashable, dict[str, AnyJob]] = {}

    def __contains__(self, key: str) -> bool:
        return key in self._runs

    def runs(self, key: str) -> list[Run]:
        """Return the experiments that wait for a job."""
        return list(self._runs.get(key, ()))

    def add(self, run: Run) -> None:
        """Note what an experiment misses.

        Raises:
            Exception: a network cannot be built; nothing is noted then.
        """
        stacks = {key: job.stack for key, job in run.missing.items() if job.stackable}
        for key in run.missing:
            self._runs.setdefault(key, []).append(run)
        for key, stack in stacks.items():
            self._stacks.setdefault(stack, {})[key] = run.missing[key]

    def remove(self, run: Run) -> None:
        """Forget an experiment that waits no longer for what it misses."""
        for key in run.missing:
            left = [other for other in self._runs.get(key, ()) if other is not run]
            if left:
                self._runs[key] = left
            else:
                self._runs.pop(key, None)

    def arrived(self, key: str) -> Iterator[Run]:
        """Strike out a job that is finished; yield the experiments that miss nothing any more."""
        for run in self._runs.pop(key, ()):
            run.has(key)
            if not run.missing:
                yield run

    def trainings(self, stack: Hashable) -> list[AnyJob]:
        """Return the trainings of a stack that are waited for."""
        jobs = {key: job for key, job in self._stacks.pop(stack, {}).items() if key in self}
        if jobs:
            self._stacks[stack] = jobs
        return list(jobs.values())
