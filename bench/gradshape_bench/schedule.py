"""The scheduler: it runs the experiments of cases, equal jobs once, finished jobs never again, trainings in stacks."""

import logging
import time
from collections import deque
from collections.abc import Generator, Hashable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, repeat
from typing import Any

from gradshape import _digest
from gradshape.data import Dataset
from gradshape_bench.awaited import Awaited, Run, Taken
from gradshape_bench.cache import Cache, Claim
from gradshape_bench.case import Case, Rows
from gradshape_bench.engines import Bundle, Done, Engine, Failed, JobLost, JobOutcome, as_failure, asked_for
from gradshape_bench.job_names import code_digest
from gradshape_bench.jobs import AnyJob, Finished
from gradshape_bench.measured_case import MeasuredCase, check_finite
from gradshape_bench.protocols import experiment
from gradshape_bench.records.running import Running

_log = logging.getLogger(__name__)

# Least size of a stack's share: fewer victims gain less by another processor than they lose by smaller products.
_LEAST_PART = 8
# How many cases to begin early for each worker.
_AHEAD = 6
# How many of the jobs that an experiment waits for are looked at first, for one that can be done.
_FIRST = 64
# Seconds to wait for a job that another process does before looking for it again.
_WAIT_SECONDS = 0.1


class Scheduler:
    """Measures any of its cases when it is asked for.

    Whenever a worker is idle, it decides what to do next: the jobs that this case needs, with those that share their
    stacks, then those of the next cases, trainings last, so that their stacks are large.

    Only the thread that asks for cases touches anything in here: that thread alone claims jobs, reads and writes the
    cache, and resumes experiments. The engine's workers receive plain bundles and return plain results through the
    generator :meth:`Engine.run <gradshape_bench.engines.Engine.run>`, which asks for the next bundle and hands on
    results only while that thread advances it. So nothing needs a lock. Other processes may use the same cache at the
    same time: a job is claimed before it is handed out, and looked up once more after it is claimed.

    Args:
        cases: all cases of this session; they may be asked for in any order.
        cache: where finished jobs are kept.
        engine: what runs the jobs.
        device: ``cpu``, ``cuda`` or ``cuda:i``.
        download: whether missing data may be downloaded.
        ahead: how many of the next cases may begin before they are asked for; by default a few for each worker, and
            fewer if their poison sets might not fit in memory.
        memory: bytes that poison sets for the next cases may take.
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
        memory: int = 1 << 32,
        running: Running | None = None,
    ) -> None:
        self._cases: dict[Rows, list[Case]] = {}
        self._places: dict[Case, int] = {}
        components: dict[int, object] = {}
        for case in cases:
            beside = self._cases.setdefault(case.rows, [])
            self._places.setdefault(case, len(beside))
            beside.append(case)
            components.update(
                {id(part): part for part in (case.attack, case.defense, case.task.recipe, case.surrogate)}
            )
        code_digest.read(components.values())
        self._cache = cache
        self._engine = engine
        self._device = device
        self._download = download
        self._ahead = _AHEAD * engine.workers if ahead is None else ahead
        self._memory = memory
        self._running = running

        self._loaded: tuple[Rows, Dataset] | None = None
        self._unavailable: dict[Rows, Exception] = {}
        self._measured: dict[Case, MeasuredCase] = {}
        # For the data set in memory: experiments under way, finished jobs by key, and which experiments wait for which.
        self._runs: dict[Case, Run] = {}
        self._finished: dict[str, Finished[Any]] = {}
        # Keys of the jobs that were found in the cache.
        self._cached: set[str] = set()
        self._awaited = Awaited()
        # Whether the experiments of all cases have begun, and those that miss nothing any more.
        self._all_begun = False
        self._ready: deque[Case] = deque()
        # Cases that failed while another one was asked for: they are left alone until they are asked for.
        self._broken: set[Case] = set()
        # Jobs that ended their process or took too long, by key: the next case that needs one need not try it again.
        self._lost: dict[str, JobLost] = {}

        self._asked: Run | None = None
        self._next_cases: Sequence[Case] = ()
        # Shares of a bundle that several workers do.
        self._shares: deque[Bundle] = deque()
        self._taken: dict[str, Taken] = {}
        # Whether all that there is to do is taken, and whether another process has some of it.
        self._exhausted = False
        self._refused = False
        self._results: Generator[Done, None, None] | None = None

    def measure(self, case: Case, *, grown_from: Case | None = None) -> MeasuredCase:
        """Measure ``case``, or return what it measured before.

        Args:
            case: one of this session, or one with more seeds.
            grown_from: the case of this session that has the first of these seeds.

        Raises:
            gradshape.data.DataUnavailable: its data cannot be had.
            Diverged: one of its trainings diverged.
            gradshape_bench.engines.JobLost: one of its jobs crashed or took too long, for this case or an earlier one.
            Exception: whatever its jobs raise.
        """
        if case not in self._measured:
            place = self._places.get(grown_from or case)
            if place is None:
                raise ValueError(f"case={case.id!r}: expected a case of this session")
            self._asked = self._run(case, self._dataset(case.rows))
            self._next_cases = self._after(self._asked, place)
            self._exhausted = False
            try:
                while not self._advance(self._asked):
                    while self._asked.missing:
                        self._step(self._asked)
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
            self._awaited = Awaited()
            self._all_begun = False
            self._ready.clear()
            self._shares.clear()
            try:
                self._loaded = rows, rows.load(download=self._download)
            except (OSError, ValueError) as error:
                self._unavailable[rows] = error
                raise
        return self._loaded[1]

    def _run(self, case: Case, dataset: Dataset) -> Run:
        if case not in self._runs:
            self._runs[case] = Run(case, experiment(case.protocol, case, dataset, self._device), dataset)
        return self._runs[case]

    def _advance(self, run: Run) -> bool:
        """Resume the experiment as long as all results that it waits for are there; return whether it has ended."""
        while not run.missing:
            try:
                if self._resume(run):
                    self._drop(run)
                    return True
                self._await(run)
            except BaseException as error:
                # A generator that raised cannot be resumed: whoever asks for the case again begins anew.
                self._drop(run)
                if isinstance(error, Exception):
                    raise
                raise as_failure(error) from error
        return False

    def _resume(self, run: Run) -> bool:
        """Give an experiment what it waits for; return whether it has ended."""
        done = {job.key: self._finished[job.key] for job in run.pending or ()}
        run.spent.update({key: finished.seconds for key, finished in done.items()})
        run.cached.update(self._cached & done.keys())
        try:
            if run.pending is None:
                run.pending = next(run.experiment)
            else:
                check_finite(finished.result for finished in done.values())
                run.pending = run.experiment.send([done[job.key].result for job in run.pending])
        except StopIteration as stop:
            self._measured[run.case] = run.ended(stop.value)
            return True
        return False

    def _await(self, run: Run) -> None:
        """Note what is missing of the jobs that an experiment asks for; they are named, and networks are built."""
        for job in run.pending or ():
            if job.key in self._lost:
                raise self._lost[job.key]
            if not self._known(job):
                run.miss(job)
        self._awaited.add(run)
        self._exhausted = False

    def _drop(self, run: Run) -> None:
        self._runs.pop(run.case, None)
        self._awaited.remove(run)

    def _known(self, job: AnyJob) -> bool:
        """Return whether a job is finished; look it up in the cache if need be."""
        if job.key not in self._finished:
            cached = self._cache.get(job.key)
            if cached is None:
                return False
            self._cached.add(job.key)
            self._arrived(job.key, cached)
        return True

    def _arrived(self, key: str, finished: Finished[Any]) -> None:
        self._finished[key] = finished
        ready = [run.case for run in self._awaited.arrived(key)]
        self._ready += ready
        if ready:
            self._exhausted = False

    def _begin_all(self, run: Run) -> None:
        """Advance the experiments of all cases on the same data as far as they get, but that of the case asked for."""
        if not self._all_begun:
            self._all_begun = True
            self._ready += self._cases[run.case.rows]
        while self._ready:
            self._begun(self._ready.popleft(), run.dataset)

    def _begun(self, case: Case, dataset: Dataset) -> Run | None:
        """Return the experiment of a case, advanced as far as it gets; ``None`` if it has ended or cannot be made.

        That of the case asked for is left to :meth:`measure`, which alone may see it end.
        """
        if case in self._measured or case in self._broken:
            return None
        if self._asked is not None and case is self._asked.case:
            return self._asked
        try:
            run = self._run(case, dataset)
            return None if self._advance(run) else run
        except Exception as error:
            # It is raised when that case is asked for.
            _log.debug("%s cannot be prepared: %s", case.id, error)
            self._broken.add(case)
            return None

    def _next(self) -> Bundle | None:
        """Return the next bundle that no other process has claimed; ``None`` if there is none for now."""
        if self._asked is None:
            return None
        if self._exhausted:
            return None
        self._refused = False
        for bundle in self._candidates(self._asked):
            claims = self._claims(bundle)
            if claims:
                if bundle in self._shares:
                    self._shares.remove(bundle)
                jobs = [job for job in bundle if job.key in claims]
                self._taken |= dict.fromkeys(claims, Taken(claims, asked_for(jobs)))
                self._note_running()
                return jobs
            if not self._asked.missing:
                return None
        # Jobs that end give nothing new to do, as long as no experiment goes on and no other process has any of them.
        self._exhausted = not self._refused
        return None

    def _claims(self, bundle: Bundle) -> dict[str, Claim]:
        """Claim those jobs of a bundle that are still to be done; none of them if another process does the first."""
        claims: dict[str, Claim] = {}
        for job in bundle:
            # The experiments that wanted it may have failed.
            if job.key not in self._awaited:
                continue
            claim = self._cache.claim(_digest.name(job.key))
            self._refused |= claim is None
            if claim is None and not claims:
                break
            # Another process may have done it meanwhile.
            if claim is not None and self._known(job):
                claim.release()
            elif claim is not None:
                claims[job.key] = claim
        return claims

    def _candidates(self, asked: Run) -> Iterator[Bundle]:
        """Yield what could be done next, the most urgent first."""
        self._shares = deque(bundle for bundle in self._shares if any(job.key in self._awaited for job in bundle))
        yield from list(self._shares)
        yield from self._single(asked)
        yield from self._trainings(asked)
        for run in self._ahead_of(asked):
            yield from self._single(run)
        for run in self._ahead_of(asked):
            yield from self._trainings(run)

    def _single(self, run: Run) -> Iterator[Bundle]:
        """Yield the jobs that a run waits for and that are no trainings, each by itself."""
        yield from ([job] for job in self._untaken(run.others))

    def _trainings(self, run: Run) -> Iterator[Bundle]:
        """Yield the trainings that a run waits for by stack, with those of other cases that share it."""
        stacks = _distinct(job.stack for job in self._untaken(run.trainings))
        workers = self._engine.workers
        # How many stacks there are matters as long as there are workers for each.
        coming = deque(islice(stacks, workers))
        while coming:
            self._begin_all(run)
            idle = workers - len({id(taken) for taken in self._taken.values()})
            # Its own come first.
            jobs = sorted(self._left(self._awaited.trainings(coming[0])), key=lambda job: job.key not in run.missing)
            if jobs:
                yield self._share(jobs, idle // len(coming))
            coming.popleft()
            coming += islice(stacks, workers - len(coming))

    def _untaken(self, missing: Mapping[str, AnyJob]) -> Iterator[AnyJob]:
        """Yield the jobs that a run waits for and that nobody has taken, while what it waits for may change.

        Most often the first few are enough: to look at all of them for every bundle takes the square of their number.
        """
        seen: set[str] = set()
        size = _FIRST
        while True:
            piece = dict(islice(missing.items(), size))
            yield from self._left([job for key, job in piece.items() if key not in seen])
            if len(piece) < size:
                return
            seen.update(piece)
            size *= 4

    def _share(self, jobs: list[AnyJob], parts: int) -> Bundle:
        """Return the first of at most so many even shares of a stack, and keep the others for the next workers."""
        size = -(-len(jobs) // max(1, min(parts, len(jobs) // _LEAST_PART)))
        first, *others = (jobs[start : start + size] for start in range(0, len(jobs), size))
        self._shares += others
        return first

    def _left(self, jobs: Iterable[AnyJob]) -> list[AnyJob]:
        """Return those jobs that nobody has taken."""
        shared = {job.key for bundle in self._shares for job in bundle}
        return [job for job in jobs if job.key not in self._taken and job.key not in shared]

    def _ahead_of(self, asked: Run) -> Iterator[Run]:
        """Yield the experiments of the next cases that wait for jobs."""
        for case in self._next_cases:
            run = self._begun(case, asked.dataset)
            if run is not None:
                yield run

    def _after(self, asked: Run, place: int) -> Sequence[Case]:
        """Return the next cases, as many as may begin early."""
        cases, first = self._cases[asked.case.rows], place + 1
        # A poison set is at most as large as the training rows.
        fitting = self._memory // max(1, asked.dataset.train.x.nbytes * len(asked.case.seeds))
        return cases[first : first + min(self._ahead, max(1, fitting))]

    def _step(self, asked: Run | None) -> None:
        """Wait until one job has ended."""
        if self._results is None:
            self._results = self._engine.run(self._next() for _ in repeat(None))
        try:
            job, done = next(self._results)
        except StopIteration:
            self._results = None
            if asked is not None and asked.missing:
                # Another process does these jobs.
                time.sleep(_WAIT_SECONDS)
                for missing in list(asked.missing.values()):
                    self._known(missing)
            return
        except BaseException:
            self._abandon()
            raise
        try:
            self._ended(job, done, asked)
        finally:
            self._settle(job.key)

    def _ended(self, job: AnyJob, done: JobOutcome, asked: Run | None) -> None:
        if isinstance(done, Failed):
            self._failed(job, done.error)
            if asked is not None and job.key in asked.missing:
                raise done.error
            return
        if job.repeatable and not done.kept:
            self._cache.put(job.key, done)
        # A job on a data set that is no longer in memory is looked up in the cache if it is needed again.
        if self._loaded is not None and job.dataset is self._loaded[1]:
            self._arrived(job.key, done)

    def _failed(self, job: AnyJob, error: Exception) -> None:
        self._exhausted = False
        if isinstance(error, JobLost):
            self._lost[job.key] = error
        for run in self._awaited.runs(job.key):
            self._drop(run)
            if run is not self._asked:
                _log.debug("%s cannot be prepared: %s", run.case.id, error)
                self._broken.add(run.case)

    def _settle(self, key: str) -> None:
        taken = self._taken.pop(key)
        taken.claims.pop(key).release()
        if not taken.claims:
            self._note_running()

    def _note_running(self) -> None:
        if self._running is not None:
            bundles = {id(taken): taken.asked_for for taken in self._taken.values()}
            self._running.note(None if self._asked is None else self._asked.case.id, list(bundles.values()))

    def _abandon(self) -> None:
        self._results = None
        self._exhausted = False
        self._shares.clear()
        for key, taken in self._taken.items():
            taken.claims.pop(key).release()
        self._taken.clear()
        self._note_running()


def _distinct(stacks: Iterable[Hashable]) -> Iterator[Hashable]:
    seen: set[Hashable] = set()
    for stack in stacks:
        if stack not in seen:
            seen.add(stack)
            yield stack
