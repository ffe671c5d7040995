"""A benchmark session: it runs cases on demand and makes a record of what each measured."""

import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import SkipTest

import pytest

from gradshape.data import DataUnavailable
from gradshape.metrics import Estimate
from gradshape.unsuitable import Unsuitable
from gradshape_bench import blame, environment
from gradshape_bench.cache import Cache, Faults
from gradshape_bench.case import Case, by_id
from gradshape_bench.chosen_engine import chosen_engine
from gradshape_bench.clean_model import ruin
from gradshape_bench.engines import Crashed, EndedByCode, TimedOut, as_failure
from gradshape_bench.engines.remote import RemoteEngine
from gradshape_bench.looks import confidence_of_each, looks
from gradshape_bench.matmul_precision import tf32
from gradshape_bench.measured_case import Diverged, MeasuredCase
from gradshape_bench.options import Settings
from gradshape_bench.plain_text import message_of, plain
from gradshape_bench.progress import ProgressLine
from gradshape_bench.records.privacy_ledger import recipe_ledger
from gradshape_bench.records.read_only import read_only
from gradshape_bench.records.record import MISSING_DATA, NOT_APPLICABLE, Record, Status
from gradshape_bench.records.rerun import pytest_command
from gradshape_bench.records.running import Running
from gradshape_bench.records.store import LONGEST_LINE
from gradshape_bench.schedule import Scheduler
from gradshape_bench.verdict import Judgement, Verdict, judge


@dataclass(frozen=True)
class SessionPart:
    """The part of a session that a process runs.

    Attributes:
        folder: scratch folder that all processes of the session share; removed at the end.
        processes: number of processes that run cases side by side.
        index: number of this process, from 0.
    """

    folder: Path
    processes: int = 1
    index: int = 0

    @classmethod
    def alone(cls) -> "SessionPart":
        """Return the whole of a session of one process."""
        return cls(Path(tempfile.mkdtemp(prefix="gradshape-")))


class BenchSession:
    """Runs the selected cases of one process.

    Args:
        cases: all selected cases, those of other processes included, because they may share stacks.
        settings: checked options.
        part: the part of the session that this process runs.
        root: folder of the project under test, whose commit is recorded.
        progress: line that shows progress while victims are trained; ``None`` for no line.
        ahead: how many cases may begin before they are asked for; ``None`` for as many as are useful.
        tell: shows the user a sentence while a case runs.

    Raises:
        ValueError: two different cases have one id, an id cannot be written, or the engine cannot be had.
    """

    def __init__(
        self,
        cases: Iterable[Case],
        settings: Settings,
        part: SessionPart,
        root: Path,
        progress: ProgressLine | None,
        *,
        ahead: int | None = None,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        selected = list(by_id(cases).values())
        for case in selected:
            if not case.id.isprintable():
                raise ValueError(f"case id {case.id!r}: expected printable characters in the labels of its parts")
        self._settings = settings
        self._root = root
        self._progress = progress
        self._cache = Cache((settings.cache_dir if settings.use_cache else part.folder) / "jobs", tell=tell)
        self._engine = chosen_engine(
            settings,
            cases=len(selected),
            processes=part.processes,
            cache=self._cache,
            watch=None if progress is None else progress.update,
        )
        self._running = Running(settings.results)
        self._scheduler = Scheduler(
            selected,
            cache=self._cache,
            engine=self._engine,
            device=settings.device,
            download=not settings.offline,
            # With several processes no case begins early: a case that ends its process must end no other case.
            ahead=ahead if part.processes == 1 else 0,
            memory=settings.max_memory,
            running=self._running,
        )
        self._precision: ExitStack | None = None

    @property
    def cache_faults(self) -> Faults:
        """What went wrong in the cache so far."""
        return self._cache.faults

    def run(self, case: Case) -> Record:
        """Measure a case and return its record.

        Raises:
            Unmeasured: the case could not be measured; the error holds the record that says so.
        """
        if self._precision is None:
            # It is kept until the session is closed: jobs of the next cases run between the tests, too.
            self._precision = ExitStack()
            self._precision.enter_context(tf32(self._settings.tf32))
        try:
            return self._measured(case)
        except BaseException as error:
            failure = as_failure(error)
            raise Unmeasured(self.unmeasured(case, failure)) from failure
        finally:
            if self._progress is not None:
                self._progress.clear()

    def unmeasured(self, case: Case, error: BaseException) -> Record:
        """Return the record of a case that ``error`` kept from being measured; it names the user's line, if any."""
        where = blame.where(error, self._root)
        status, reason = Status.FAILED, str(error) if isinstance(error, EndedByCode) else message_of(error)
        if isinstance(error, DataUnavailable):
            status = Status.FAILED if self._settings.require_data else Status.SKIPPED
            where, reason = "", f"{MISSING_DATA} {error}"
        elif isinstance(error, Unsuitable):
            status, where, reason = Status.SKIPPED, "", f"{NOT_APPLICABLE} {error}"
        elif isinstance(error, SkipTest | pytest.skip.Exception) or _skips(error):
            status = Status.SKIPPED
        elif isinstance(error, Diverged):
            status, reason = Status.DIVERGED, str(error)
        elif isinstance(error, TimedOut):
            status, where, reason = Status.TIMEOUT, "", str(error)
        elif isinstance(error, Crashed):
            status, reason = Status.CRASHED, str(error)
        elif isinstance(error, MemoryError):
            status, reason = Status.CRASHED, f"its experiment ran out of memory: {reason}"
        record = blank_record(case, status, plain(where + reason))
        return replace(record, environment=self._environment())

    def _measured(self, case: Case) -> Record:
        """Measure a case, with more seeds as long as a verdict is inconclusive and there may be more."""
        planned = looks(len(case.seeds), self._settings.max_seeds) if case.thresholds else [len(case.seeds)]
        confidence = confidence_of_each(self._settings.confidence, planned)
        for count in planned:
            grown = _with_seeds(case, count)
            measured = self._scheduler.measure(grown, grown_from=case)
            metrics = measured.measurement.metrics
            fault = ruin(metrics, trivial=measured.trivial, utility=case.utility)
            judgements = tuple(judge(bound, metrics, ruin=fault, confidence=confidence) for bound in case.thresholds)
            if all(judgement.verdict is not Verdict.INCONCLUSIVE for judgement in judgements):
                break
        return self._record(grown, measured, judgements, planned)

    def _record(
        self, case: Case, measured: MeasuredCase, judgements: Sequence[Judgement], planned: Sequence[int]
    ) -> Record:
        confidence = self._settings.confidence
        record = replace(
            blank_record(case, Status.OK),
            dataset_fingerprint=measured.dataset_fingerprint,
            metrics={name: estimate.at(confidence) for name, estimate in measured.measurement.metrics.items()},
            judgements=tuple(judgements),
            confidence=confidence,
            looks=tuple(count for count in planned if count <= len(case.seeds)) if len(planned) > 1 else (),
            planned_looks=len(planned),
            jobs=measured.jobs,
            cached_jobs=measured.cached_jobs,
            details={
                **measured.measurement.details,
                **knowledge(case),
                "trivial": {name: float(f"{score:.6g}") for name, score in measured.trivial.items()},
                "privacy": recipe_ledger(case.recipe, measured.train_rows),
            },
            seconds=round(measured.seconds, 3),
            costs={name: round(seconds, 4) for name, seconds in measured.costs.items()},
            environment=self._environment(),
        )
        # What an experiment measured, which may be a user's, has to be a number, and its details plain values.
        line = record.to_json()
        if len(line) >= LONGEST_LINE:
            raise ValueError(f"a record of {len(line):,} characters: expected at most {LONGEST_LINE:,}")
        # As it is stored: nothing in it belongs to the experiment, or to another test of this case.
        return Record.from_json(line)

    def rest(self) -> None:
        """Wait for jobs that run for later cases, and begin no others until a case is asked for."""
        self._scheduler.rest()

    def close(self) -> None:
        """Stop jobs that run for later cases, and release what the session holds."""
        self._scheduler.close()
        self._engine.close()
        self._running.close()
        if self._precision is not None:
            self._precision.close()
            self._precision = None

    def _environment(self) -> dict[str, object]:
        described = environment.describe(self._settings.device, self._root)
        if isinstance(self._engine, RemoteEngine) and self._engine.machines:
            described["processor"] = " | ".join(sorted(self._engine.machines))
        return described


class Unmeasured(Exception):
    """A case could not be measured; ``record`` says why."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.reason)
        self.record = record


class ThresholdMissed(AssertionError):
    """A case was measured and misses at least one threshold.

    Args:
        reasons: what is missed, a sentence each.
        context: lines that are shown below them.
    """

    def __init__(self, reasons: Sequence[str], context: Sequence[str]) -> None:
        super().__init__("\n".join([*reasons, *context]))
        self.reasons = tuple(reasons)


def knowledge(case: Case) -> dict[str, object]:
    """Return what the defence is told and what the attack knows, as plain values."""
    told = case.defense.assumptions
    defender = {
        "training data": told.knows_training_data,
        "model": told.knows_model,
        "targets": told.knows_targets,
        "clean rows": told.knows_clean,
        "budget": told.knows_budget,
        "poison": told.knows_poison,
    }
    threat = case.attack.threat
    attacker = {
        "training data": threat.training_data,
        "features": threat.features,
        "algorithm": threat.algorithm,
        "parameters": threat.parameters,
    }
    return {
        "defense_kind": told.kind.value,
        "defense_knows": [what for what, known in defender.items() if known],
        "attack_surrogate": None if case.surrogate is None else case.surrogate.model,
        "attack_control": None if case.attack.control is None else case.attack.control.label,
        "attack_knows": [what for what, known in attacker.items() if known.granted],
    }


def blank_record(case: Case, status: Status, reason: str | None = None) -> Record:
    """Return a record of ``case`` without measurements."""
    return Record(
        case=case.id,
        fingerprint=case.fingerprint,
        challenge=case.challenge,
        dataset=case.task.dataset,
        dataset_fingerprint=None,
        model=case.task.model,
        protocol=case.protocol.label,
        attack=case.attack.label,
        defense=case.defense_label,
        scale=case.scale.value,
        seeds=case.seeds,
        status=status,
        expected_failure=None if case.expected_failure is None else plain(str(case.expected_failure)),
        reason=reason,
    )


def _with_seeds(case: Case, count: int) -> Case:
    """Return the case with so many seeds: its own, and those that follow the largest of them."""
    if count == len(case.seeds):
        return case
    following = range(max(case.seeds) + 1, max(case.seeds) + 1 + count - len(case.seeds))
    return replace(case, seeds=(*case.seeds, *following))


def _skips(error: BaseException) -> bool:
    """Return whether the user's code called pytest's skip in an attack, a defence or the like."""
    return isinstance(error, EndedByCode) and error.kind == pytest.skip.Exception.__name__


class CaseOutcome:
    """What the fixture ``outcome`` gives a test; the case runs when its record or metrics are first asked for.

    Args:
        case: the case of this test.
        measure: measures the case; it skips or fails the test if that cannot be done.
        strict: whether a threshold whose verdict is INCONCLUSIVE is missed.
        test: path of the test's file, from where pytest was started; ``None`` if it is not known.
        taken: options whose short names are another plugin's, which the command to re-run the case must not use.
    """

    def __init__(
        self,
        case: Case,
        measure: Callable[[], Record],
        *,
        strict: bool,
        test: str | None = None,
        taken: Collection[str] = (),
    ) -> None:
        self.case = case
        self._measure = measure
        self._strict = strict
        self._test = test
        self._taken = taken
        self._record: Record | None = None

    @property
    def record(self) -> Record:
        """The record of the case, which cannot be changed."""
        __tracebackhide__ = True
        if self._record is None:
            self._record = read_only(self._measure())
        return self._record

    @property
    def metrics(self) -> Mapping[str, Estimate]:
        """The measured metrics, by name."""
        __tracebackhide__ = True
        return self.record.metrics

    def check(self) -> None:
        """Assert the thresholds of the case.

        A threshold is met if the measured value is on the right side of its bound; the verdict says how sure that is.

        Raises:
            ThresholdMissed: at least one threshold is missed; the message shows value, interval, bound, verdict and
                case, and how to run it again.
        """
        __tracebackhide__ = True
        record = self.record
        missed = [j for j in record.judgements if not j.met or (self._strict and j.verdict is not Verdict.PASS)]
        if missed:
            raise ThresholdMissed([*map(self._said, missed)], self._context(record))

    def _said(self, judgement: Judgement) -> str:
        strict = " (--strict-verdicts takes nothing but PASS)" if judgement.met else ""
        return f"{judgement}{strict}"

    def _context(self, record: Record) -> list[str]:
        return [
            f"case: {record.case} (scale {record.scale}, {len(record.seeds)} seed{'s' * (len(record.seeds) != 1)})",
            *(
                f"  {name}: {estimate}"
                for name, estimate in record.metrics.items()
                if not name.endswith(("_best", "_last"))
            ),
            f"re-run: {pytest_command(record, test=self._test, taken=self._taken)}",
        ]
