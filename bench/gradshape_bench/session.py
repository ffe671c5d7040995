"""A benchmark session: it runs cases on demand and makes a record of what each measured."""

import tempfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from gradshape.data import DataUnavailable
from gradshape.metrics import Estimate
from gradshape_bench import environment
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case
from gradshape_bench.engines import Crashed, ProcessEngine, ThreadEngine, TimedOut, processors
from gradshape_bench.matmul_precision import tf32
from gradshape_bench.options import EngineKind, Settings
from gradshape_bench.privacy_ledger import recipe_ledger
from gradshape_bench.progress import ProgressLine
from gradshape_bench.record import MISSING_DATA, Record, Status
from gradshape_bench.running import Running
from gradshape_bench.schedule import Scheduler, by_id
from gradshape_bench.verdict import Verdict, judge

_ENGINES: Mapping[EngineKind, type[ThreadEngine | ProcessEngine]] = {
    EngineKind.THREADS: ThreadEngine,
    EngineKind.PROCESSES: ProcessEngine,
}


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

    Raises:
        ValueError: two different cases have one id.
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
    ) -> None:
        selected = list(by_id(cases).values())
        self._settings = settings
        self._root = root
        self._progress = progress
        self._engine = _ENGINES[settings.engine](
            workers=max(1, processors() // part.processes),
            max_memory=settings.max_memory // part.processes,
            watch=None if progress is None else progress.update,
            limit=settings.case_timeout,
        )
        self._running = Running(settings.results)
        self._scheduler = Scheduler(
            selected,
            cache=Cache(settings.cache_dir / "jobs" if settings.use_cache else part.folder / "jobs"),
            engine=self._engine,
            device=settings.device,
            download=not settings.offline,
            # With several processes no case begins early: a case that ends its process must end no other case.
            ahead=ahead if part.processes == 1 else 0,
            running=self._running,
        )
        self._precision: ExitStack | None = None

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
            measured = self._scheduler.measure(case)
            metrics = measured.measurement.metrics
            judgements = tuple(judge(threshold, metrics) for threshold in case.thresholds)
        except DataUnavailable as error:
            status = Status.FAILED if self._settings.require_data else Status.SKIPPED
            raise Unmeasured(self._blank(case, status, f"{MISSING_DATA} {error}")) from error
        except TimedOut as error:
            raise Unmeasured(self._blank(case, Status.TIMEOUT, str(error))) from error
        except Crashed as error:
            raise Unmeasured(self._blank(case, Status.CRASHED, str(error))) from error
        except MemoryError as error:
            reason = f"its experiment ran out of memory: MemoryError: {error}"
            raise Unmeasured(self._blank(case, Status.CRASHED, reason)) from error
        except Exception as error:
            raise Unmeasured(self._blank(case, Status.FAILED, f"{type(error).__name__}: {error}")) from error
        finally:
            if self._progress is not None:
                self._progress.clear()
        return replace(
            blank_record(case, Status.OK),
            dataset_fingerprint=measured.dataset_fingerprint,
            metrics=metrics,
            judgements=judgements,
            details={
                **measured.measurement.details,
                **knowledge(case),
                "privacy": recipe_ledger(case.recipe, measured.train_rows),
            },
            seconds=round(measured.seconds, 3),
            costs={name: round(seconds, 4) for name, seconds in measured.costs.items()},
            environment=environment.describe(self._settings.device, self._root),
        )

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

    def _blank(self, case: Case, status: Status, reason: str) -> Record:
        record = blank_record(case, status, reason)
        return replace(record, environment=environment.describe(self._settings.device, self._root))


class Unmeasured(Exception):
    """A case could not be measured; ``record`` says why."""

    def __init__(self, record: Record) -> None:
        super().__init__(record.reason)
        self.record = record


class ThresholdMissed(AssertionError):
    """A case was measured and misses at least one threshold."""


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
        "attack_control": None if case.attack.control is None else case.attack.control.label,
        "attack_knows": [what for what, known in attacker.items() if known.granted],
    }


def blank_record(case: Case, status: Status, reason: str | None = None) -> Record:
    """Return a record of ``case`` without measurements."""
    return Record(
        case=case.id,
        fingerprint=case.fingerprint,
        dataset=case.task.dataset,
        dataset_fingerprint=None,
        model=case.task.model,
        protocol=case.protocol.label,
        attack=case.attack.label,
        defense=case.defense_label,
        scale=case.scale.value,
        seeds=case.seeds,
        status=status,
        expected_failure=None if case.expected_failure is None else str(case.expected_failure),
        reason=reason,
    )


class CaseOutcome:
    """What the fixture ``outcome`` gives a test; the case runs when its record or metrics are first asked for.

    Args:
        case: the case of this test.
        measure: measures the case; it skips or fails the test if that cannot be done.
        strict: whether a threshold whose verdict is INCONCLUSIVE is missed.
    """

    def __init__(self, case: Case, measure: Callable[[], Record], *, strict: bool) -> None:
        self.case = case
        self._measure = measure
        self._strict = strict

    @cached_property
    def record(self) -> Record:
        """The record of the case."""
        __tracebackhide__ = True
        return self._measure()

    @property
    def metrics(self) -> Mapping[str, Estimate]:
        """The measured metrics, by name."""
        __tracebackhide__ = True
        return self.record.metrics

    def check(self) -> None:
        """Assert the thresholds of the case.

        A threshold is met if the measured value is on the right side of its bound; the verdict says how sure that is.

        Raises:
            ThresholdMissed: at least one threshold is missed; the message shows value, interval, bound and case.
        """
        __tracebackhide__ = True
        missed = [j for j in self.record.judgements if not j.met or (self._strict and j.verdict is not Verdict.PASS)]
        if missed:
            raise ThresholdMissed("\n".join([*map(str, missed), *self._context()]))

    def _context(self) -> list[str]:
        record = self.record
        return [
            f"case: {record.case} (scale {record.scale}, {len(record.seeds)} seeds)",
            f"re-run: pytest suites/ -k '[{record.case}]' --scale {record.scale} --seeds {len(record.seeds)}",
            *(
                f"  {name}: {estimate}"
                for name, estimate in record.metrics.items()
                if not name.endswith(("_best", "_last"))
            ),
        ]
