"""Runs the experiments of cases: shared jobs once, finished jobs never again, trainings in stacks."""

import logging
import threading
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from bench.cache import Cache, Finished
from bench.case import Case, Rows
from bench.jobs import Job, Train
from bench.protocols.base import Experiment, Measurement
from gradshape import _digest
from gradshape.data import Dataset

_log = logging.getLogger(__name__)

# Victims that are worth a stack of their own: fewer gain less by another processor than they lose by smaller products.
_LEAST_PART = 8


class Engine(Protocol):
    """Where bundles of jobs run; see :class:`bench.engines.LocalEngine`."""

    @property
    def workers(self) -> int: ...

    def run(self, bundles: Sequence[Sequence[Job]], run_bundle: Any) -> None: ...

    def compute(self, bundle: Sequence[Job], emit: Any) -> None: ...


@dataclass(frozen=True)
class Outcome:
    """What a case's experiment found, and what it cost.

    Attributes:
        measurement: what it found.
        dataset_fingerprint, train_rows: of the clean data.
        seconds: computing time of its jobs.
        costs: mean computing time of a job by what it did, in seconds.
    """

    measurement: Measurement
    dataset_fingerprint: str
    train_rows: int
    seconds: float
    costs: Mapping[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class _Run:
    """A case's experiment under way: it waits for the results of ``pending``."""

    case: Case
    experiment: Experiment
    dataset: Dataset
    pending: Sequence[Job] = ()
    spent: dict[str, float] = field(default_factory=dict)
    measurement: Measurement | None = None
    begun: bool = False


class Scheduler:
    """Gives the outcome of any of its cases, computing only what that case needs and what shares its stacks.

    Args:
        cases: all cases of this session; they may be asked for in any order.
        cache: finished jobs.
        engine: where jobs run.
        device: ``cpu``, ``cuda`` or ``cuda:i``.
        download: whether missing data may be downloaded.
    """

    def __init__(
        self, cases: Iterable[Case], *, cache: Cache, engine: Engine, device: str = "cpu", download: bool = True
    ) -> None:
        self._cases: dict[Rows, list[Case]] = {}
        for case in cases:
            self._cases.setdefault(case.rows, []).append(case)
        self._cache = cache
        self._engine = engine
        self._device = device
        self._download = download
        self._runs: dict[Case, _Run] = {}
        self._finished: dict[str, Finished] = {}
        self._loaded: tuple[Rows, Dataset] | None = None
        self._unavailable: dict[Rows, Exception] = {}
        self._broken: set[Case] = set()

    def outcome(self, case: Case) -> Outcome:
        """The outcome of ``case``.

        Raises:
            gradshape.data.DataUnavailable: its data cannot be had.
            Exception: whatever its jobs raise.
        """
        dataset = self._dataset(case.rows)
        run = self._run(case, dataset)
        while run.measurement is None:
            self._advance(run)
            needed = [job for job in run.pending if job.key not in self._finished]
            if needed:
                self._do(needed, self._companions(case, dataset, {job.stack for job in needed}))
        costs = {
            name: sum(run.spent[job.key] for job in jobs) / len(jobs)
            for name, jobs in run.measurement.timed.items()
            if jobs
        }
        return Outcome(run.measurement, dataset.fingerprint, len(dataset.train), sum(run.spent.values()), costs)

    def _dataset(self, rows: Rows) -> Dataset:
        # One data set is held at a time: the cases of a suite stand together, and pictures are large.
        if rows in self._unavailable:
            raise self._unavailable[rows]
        if self._loaded is None or self._loaded[0] != rows:
            try:
                self._loaded = rows, rows.load(download=self._download)
            except (OSError, ValueError) as error:
                self._unavailable[rows] = error
                raise
            self._finished.clear()
        return self._loaded[1]

    def _run(self, case: Case, dataset: Dataset) -> _Run:
        run = self._runs.get(case)
        # Jobs hold their data set: an experiment under way keeps to the one that it began with.
        if run is None or (run.measurement is None and run.dataset is not dataset):
            run = _Run(case, case.protocol.run(case, dataset, self._device), dataset)
            self._runs[case] = run
        return run

    def _advance(self, run: _Run) -> None:
        """Resume the experiment as often as the results that it waits for are there."""
        while run.measurement is None:
            results = [self._result(job) for job in run.pending]
            if any(result is None for result in results):
                return
            done = [result for result in results if result is not None]
            run.spent.update({job.key: result.seconds for job, result in zip(run.pending, done, strict=True)})
            try:
                values = [result.result for result in done]
                run.pending = run.experiment.send(values) if run.begun else next(run.experiment)
                run.begun = True
            except StopIteration as stop:
                run.measurement, run.pending = stop.value, ()
            except BaseException:
                # A generator that raised is spent: who asks for the case again begins anew.
                self._runs.pop(run.case, None)
                self._broken.add(run.case)
                raise

    def _result(self, job: Job) -> Finished | None:
        if job.key not in self._finished:
            cached = self._cache.get(job.key)
            if cached is None:
                return None
            self._finished[job.key] = cached
        return self._finished[job.key]

    def _companions(self, case: Case, dataset: Dataset, stacks: set[Hashable]) -> list[Job]:
        """Unfinished jobs of other cases that can be done in the same stacks."""
        jobs: list[Job] = []
        for other in self._cases.get(case.rows, ()):
            if other == case or other in self._broken:
                continue
            try:
                run = self._run(other, dataset)
                self._advance(run)
                jobs += [job for job in run.pending if isinstance(job, Train) and job.stack in stacks]
            except Exception as error:
                # It will be raised where it belongs: when that case is asked for.
                _log.debug("%s cannot be prepared beside %s: %s", other.id, case.id, error)
                self._broken.add(other)
        return jobs

    def _do(self, needed: Sequence[Job], companions: Sequence[Job]) -> None:
        try:
            self._compute([*needed, *companions])
        except Exception:
            if not companions:
                raise
            # If a companion is at fault, the needed jobs succeed without it.
            self._compute(needed)

    def _compute(self, jobs: Sequence[Job]) -> None:
        bundles: dict[Hashable, dict[str, Job]] = {}
        for job in jobs:
            if job.key not in self._finished:
                bundles.setdefault(job.stack, {})[job.key] = job
        parts = [part for bundle in bundles.values() for part in self._parts(list(bundle.values()), len(bundles))]
        guard = threading.Lock()

        def emit(job: Job, finished: Finished) -> None:
            self._cache.put(job.key, finished)
            with guard:
                self._finished[job.key] = finished

        def run_bundle(bundle: Sequence[Job]) -> None:
            with self._cache.lock(_digest.name(bundle[0].key)):
                # Another process may have done some of them while this one waited for the lock.
                self._engine.compute([job for job in bundle if self._result(job) is None], emit)

        self._engine.run(parts, run_bundle)

    def _parts(self, bundle: list[Job], bundles: int) -> list[list[Job]]:
        """A bundle, or where there are fewer bundles than workers and many trainings in it, an even share for each."""
        most = min(self._engine.workers // bundles, len(bundle) // _LEAST_PART)
        if most < 2 or not isinstance(bundle[0], Train):
            return [bundle]
        size = -(-len(bundle) // most)
        return [bundle[start : start + size] for start in range(0, len(bundle), size)]


def by_id(cases: Iterable[Case]) -> Mapping[tuple[str, str], Case]:
    """Cases by scale and id.

    Raises:
        ValueError: two different cases have one id.
    """
    found: dict[tuple[str, str], Case] = {}
    for case in cases:
        other = found.setdefault((case.scale.value, case.id), case)
        if other != case:
            raise ValueError(
                f"two different cases are called {case.id!r}: give one of their tasks a variant, or attack, defence or "
                "protocol another label"
            )
    return found
