"""The scheduler: it runs the experiments of cases, equal jobs once, finished jobs never again, trainings in stacks."""

import logging
import time
from collections import deque
from collections.abc import Generator, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gradshape import _digest
from gradshape.data import Dataset
from gradshape_bench.cache import Cache, Claim
from gradshape_bench.case import Case, Rows
from gradshape_bench.engines import Bundle, Done, Engine, Failed, JobLost, as_failure, asked_for
from gradshape_bench.job_names import code_digest
from gradshape_bench.jobs import AnyJob, Finished
from gradshape_bench.measured_case import MeasuredCase, check_finite
from gradshape_bench.protocols import Experiment, Measurement, experiment
from gradshape_bench.records.running import Running

_log = logging.getLogger(__name__)

# Least size of a stack's share: fewer victims gain less by another processor than they lose by smaller products.
_LEAST_PART = 8
# How many cases to begin early for each worker: poison sets and networks of all of them may have to fit in memory.
_AHEAD = 4
# Seconds to wait for a job that another process does before looking for it again.
_WAIT_SECONDS = 0.1


@dataclass(eq=False)
class _Run:
    """The experiment of a case under way.

    Attributes:
        pending: jobs whose results it waits for; ``None`` until it has begun.
        missing: those of these jobs that are not finished, by key.
        spent: computing time of its jobs in seconds, by key.
    """

    case: Case
    experiment: Experiment
    dataset: Dataset
    pending: Sequence[AnyJob] | None = None
    missing: dict[str, AnyJob] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)


@dataclass(eq=False)
class _Taken:
    """A bundle that the engine has taken: keys of the jobs that it has not given back, and the claim on them.

    Attributes:
        asked_for: what its jobs were asked for, in words.
    """

    keys: set[str]
    claim: Claim
    asked_for: str


class Scheduler:
    """Measures any of its cases when it is asked for.

    It does the jobs that this case needs and those that share their stacks; while workers are idle, it also does the
    jobs that the next cases need, in the order of the cases.

    Only the thread that asks for cases touches anything in here: that thread alone claims jobs, reads and writes the
    cache, and resumes experiments. The engine's workers receive plain bundles and return plain results through the
    generator :meth:`Engine.run <gradshape_bench.engines.Engine.run>`, which asks for the next bundle and hands on
    results only while that thread advances it. So nothing needs a lock. Other processes may use the same cache at the
    same time: a bundle is claimed before it is handed out, and looked up once more after it is claimed.

    Args:
        cases: all cases of this session; they may be asked for in any order.
        cache: where finished jobs are kept.
        engine: what runs the jobs.
        device: ``cpu``, ``cuda`` or ``cuda:i``.
        download: whether missing data may be downloaded.
        ahead: how many of the next cases may begin before they are asked for; by default a few for each worker.
        running: where it notes which jobs are under way, for the case that this process dies.
    """

    def __init__(
        self,
        cases: Iterable[Case],
        *,
        cache: Cache,
        engine: Engine,
        device: str = "cpu",
        download: bool = True,
        ahead: int | None = None,
        running: Running | None = None,
    ) -> None:
        self._cases: dict[Rows, list[Case]] = {}
        components: dict[int, object] = {}
        for case in cases:
            self._cases.setdefault(case.rows, []).append(case)
            components.update({id(part): part for part in (case.attack, case.defense, case.task.recipe)})
        code_digest.read(components.values())
        self._cache = cache
        self._engine = engine
        self._device = device
        self._download = download
        self._ahead = _AHEAD * engine.workers if ahead is None else ahead
        self._running = running

        self._loaded: tuple[Rows, Dataset] | None = None
        self._unavailable: dict[Rows, Exception] = {}
        self._measured: dict[Case, MeasuredCase] = {}
        # For the data set in memory: experiments under way, finished jobs by key, and which experiments wait for a key.
        self._runs: dict[Case, _Run] = {}
        self._finished: dict[str, Finished[Any]] = {}
        self._waiting: dict[str, list[_Run]] = {}
        # Cases that failed while another one was asked for: they are left alone until they are asked for.
        self._broken: set[Case] = set()
        # Jobs that ended their process or took too long, by key: the next case that needs one need not try it again.
        self._lost: dict[str, JobLost] = {}

        self._asked: _Run | None = None
        self._queue: deque[Bundle] = deque()
        self._taken: dict[str, _Taken] = {}
        self._results: Generator[Done, None, None] | None = None

    def measure(self, case: Case) -> MeasuredCase:
        """Measure ``case``, or return what it measured before.

        Raises:
            gradshape.data.DataUnavailable: its data cannot be had.
            Diverged: one of its trainings diverged.
            gradshape_bench.engines.JobLost: one of its jobs crashed or took too long, for this case or an earlier one.
            Exception: whatever its jobs raise.
        """
        if case not in self._measured:
            if case not in self._cases.get(case.rows, ()):
                raise ValueError(f"case={case.id!r}: expected a case of this session")
            self._asked = self._run(case, self._dataset(case.rows))
            try:
                while not self._advance(self._asked):
                    self._plan(self._asked)
                    while self._asked.missing and self._step(self._asked):
                        pass
            finally:
                self._asked = None
                if not self._taken:
                    self.close()
                self._note_running()
        return self._measured[case]

    def rest(self) -> None:
        """Wait for running jobs, and begin no others until a case is asked for."""
        while self._results is not None:
            self._step(None)

    def close(self) -> None:
        """Stop running jobs; they begin anew when a case that needs them is asked for."""
        try:
            if self._results is not None:
                self._results.close()
        finally:
            self._abandon()

    def _dataset(self, rows: Rows) -> Dataset:
        # Only one data set is kept in memory: the cases of a suite stand together, and images are large.
        if rows in self._unavailable:
            raise self._unavailable[rows]
        if self._loaded is None or self._loaded[0] != rows:
            self._loaded = None
            self._runs.clear()
            self._finished.clear()
            self._waiting.clear()
            self._queue.clear()
            try:
                self._loaded = rows, rows.load(download=self._download)
            except (OSError, ValueError) as error:
                self._unavailable[rows] = error
                raise
        return self._loaded[1]

    def _run(self, case: Case, dataset: Dataset) -> _Run:
        if case not in self._runs:
            self._runs[case] = _Run(case, experiment(case.protocol, case, dataset, self._device), dataset)
        return self._runs[case]

    def _advance(self, run: _Run) -> bool:
        """Resume the experiment as long as all results that it waits for are there; return whether it has ended."""
        while not run.missing:
            done = {job.key: self._finished[job.key] for job in run.pending or ()}
            run.spent.update({key: finished.seconds for key, finished in done.items()})
            try:
                if run.pending is None:
                    run.pending = next(run.experiment)
                else:
                    check_finite(finished.result for finished in done.values())
                    run.pending = run.experiment.send([done[job.key].result for job in run.pending])
            except StopIteration as stop:
                self._measured[run.case] = _measured_case(run, stop.value)
                self._drop(run)
                return True
            except BaseException as error:
                # A generator that raised cannot be resumed: whoever asks for the case again begins anew.
                self._drop(run)
                if isinstance(error, Exception):
                    raise
                raise as_failure(error) from error
            for job in run.pending:
                if job.key in self._lost:
                    self._drop(run)
                    raise self._lost[job.key]
                if not self._known(job):
                    run.missing[job.key] = job
            for key in run.missing:
                self._waiting.setdefault(key, []).append(run)
        return False

    def _drop(self, run: _Run) -> None:
        self._runs.pop(run.case, None)
        for key in run.missing:
            waiting = [other for other in self._waiting.get(key, ()) if other is not run]
            if waiting:
                self._waiting[key] = waiting
            else:
                self._waiting.pop(key, None)

    def _known(self, job: AnyJob) -> bool:
        """Return whether a job is finished; look it up in the cache if need be."""
        if job.key not in self._finished:
            cached = self._cache.get(job.key)
            if cached is None:
                return False
            self._arrived(job.key, cached)
        return True

    def _arrived(self, key: str, finished: Finished[Any]) -> None:
        self._finished[key] = finished
        for run in self._waiting.pop(key, ()):
            del run.missing[key]

    def _plan(self, run: _Run) -> None:
        """Queue the jobs that a run waits for, with the jobs of other cases that share their stacks."""
        planned = {job.key for bundle in self._queue for job in bundle} | self._taken.keys()
        needed = [job for key, job in run.missing.items() if key not in planned]
        if not needed:
            return
        bundles: dict[Hashable, dict[str, AnyJob]] = {}
        for job in needed:
            bundles.setdefault(job.stack, {})[job.key] = job
        for job in self._companions(run):
            if job.stack in bundles and job.key not in planned:
                bundles[job.stack][job.key] = job
        for bundle in bundles.values():
            self._queue += self._parts(list(bundle.values()), len(bundles))

    def _companions(self, run: _Run) -> Iterator[AnyJob]:
        """Yield the unfinished stackable jobs of the other cases on the same data."""
        for other in self._cases.get(run.case.rows, ()):
            beside = self._begun(other, run.dataset)
            if beside is not None and beside is not run:
                yield from (job for job in beside.missing.values() if job.stackable)

    def _begun(self, case: Case, dataset: Dataset) -> _Run | None:
        """Return the experiment of a case, advanced as far as it gets; ``None`` if it has ended or cannot be made."""
        if case in self._measured or case in self._broken:
            return None
        try:
            run = self._run(case, dataset)
            return None if self._advance(run) else run
        except Exception as error:
            # It is raised when that case is asked for.
            _log.debug("%s cannot be prepared: %s", case.id, error)
            self._broken.add(case)
            return None

    def _parts(self, bundle: list[AnyJob], bundles: int) -> list[list[AnyJob]]:
        """Split a bundle of many trainings into even shares if there are fewer bundles than workers."""
        most = min(self._engine.workers // bundles, len(bundle) // _LEAST_PART)
        if most < 2 or not bundle[0].stackable:
            return [bundle]
        size = -(-len(bundle) // most)
        return [bundle[start : start + size] for start in range(0, len(bundle), size)]

    def _bundles(self) -> Iterator[Bundle | None]:
        while True:
            bundle = self._next()
            while bundle is None and self._plan_ahead():
                bundle = self._next()
            yield bundle

    def _next(self) -> Bundle | None:
        """Return the next bundle that no other process has claimed; those of the case that is asked for come first."""
        if self._asked is None:
            return None
        asked = self._asked.missing.keys()
        for bundle in sorted(self._queue, key=lambda bundle: not any(job.key in asked for job in bundle)):
            claim = self._cache.claim(_digest.name(bundle[0].key))
            if claim is None:
                continue
            self._queue.remove(bundle)
            # Another process may have done some of these jobs, and the experiments that wanted others may have failed.
            jobs = [job for job in bundle if job.key in self._waiting and not self._known(job)]
            if jobs:
                taken = _Taken({job.key for job in jobs}, claim, asked_for(jobs))
                self._taken |= dict.fromkeys(taken.keys, taken)
                self._note_running()
                return jobs
            claim.release()
        return None

    def _plan_ahead(self) -> bool:
        """Queue the jobs of the next case that needs any; return whether there is one."""
        if self._asked is None:
            return False
        cases = self._cases[self._asked.case.rows]
        first = cases.index(self._asked.case) + 1
        before = len(self._queue)
        for case in cases[first : first + self._ahead]:
            run = self._begun(case, self._asked.dataset)
            if run is not None:
                self._plan(run)
            if len(self._queue) > before:
                return True
        return False

    def _step(self, asked: _Run | None) -> bool:
        """Wait until one job has ended; return whether all that is missing is still being computed."""
        if self._results is None:
            self._results = self._engine.run(self._bundles())
        try:
            job, done = next(self._results)
        except StopIteration:
            self._results = None
            if asked is not None and asked.missing:
                # Another process does these jobs.
                time.sleep(_WAIT_SECONDS)
                for missing in list(asked.missing.values()):
                    self._known(missing)
            return False
        except BaseException:
            self._abandon()
            raise
        self._settle(job.key)
        if isinstance(done, Failed):
            self._failed(job, done.error)
            if asked is not None and job.key in asked.missing:
                raise done.error
            return True
        if job.repeatable:
            self._cache.put(job.key, done)
        # A job on a data set that is no longer in memory is looked up in the cache if it is needed again.
        if self._loaded is not None and job.dataset is self._loaded[1]:
            self._arrived(job.key, done)
        return job.key not in self._waiting

    def _failed(self, job: AnyJob, error: Exception) -> None:
        if isinstance(error, JobLost):
            self._lost[job.key] = error
        for run in self._waiting.get(job.key, [])[:]:
            self._drop(run)
            if run is not self._asked:
                _log.debug("%s cannot be prepared: %s", run.case.id, error)
                self._broken.add(run.case)

    def _settle(self, key: str) -> None:
        taken = self._taken.pop(key)
        taken.keys.discard(key)
        if not taken.keys:
            taken.claim.release()
            self._note_running()

    def _note_running(self) -> None:
        if self._running is not None:
            bundles = {id(taken): taken.asked_for for taken in self._taken.values()}
            self._running.note(None if self._asked is None else self._asked.case.id, list(bundles.values()))

    def _abandon(self) -> None:
        self._results = None
        self._queue.clear()
        for taken in self._taken.values():
            taken.claim.release()
        self._taken.clear()
        self._note_running()


def _measured_case(run: _Run, measurement: Measurement) -> MeasuredCase:
    costs = {
        name: sum(run.spent[job.key] for job in jobs) / len(jobs) for name, jobs in measurement.timed.items() if jobs
    }
    plain = replace(measurement, timed={})
    return MeasuredCase(
        plain, run.dataset.fingerprint, len(run.dataset.train), seconds=sum(run.spent.values()), costs=costs
    )
