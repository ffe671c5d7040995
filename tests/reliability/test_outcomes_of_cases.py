"""Whatever a user's attack does, its case ends with a record that says so, and the other cases are measured."""

import unittest
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.attacks import Attack, LabelFlip, PoisonSet
from gradshape.defenses import NoDefense
from gradshape.metrics import Estimate
from gradshape.training import SGD, Adam, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.engines import EndedByCode, as_failure
from gradshape_bench.options import EngineKind, Settings
from gradshape_bench.protocols import Experiment, Lab, Measurement, Subject
from gradshape_bench.records.record import Record, Status
from gradshape_bench.session import BenchSession, SessionPart, Unmeasured
from gradshape_bench.verdict import Threshold, Verdict, judge
from tests.bench.sample import settings_in

TASK = Task("two_moons", Recipe("lr", Adam(0.5), batch_size=64, epochs=1))


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no words")


class Unprintable(Exception):
    def __str__(self) -> Any:
        return 3


def _exit() -> None:
    raise SystemExit(0)


def _leave() -> None:
    pytest.exit("enough", returncode=0)


def _fail(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


DEEDS: dict[str, tuple[Callable[[], Any], Status, str]] = {
    "skip": (lambda: pytest.skip("not here"), Status.SKIPPED, "Skipped: not here"),
    "skiptest": (_fail(unittest.SkipTest("not here")), Status.SKIPPED, "SkipTest: not here"),
    "fail": (lambda: pytest.fail("no good"), Status.FAILED, "Failed: no good"),
    "xfail": (lambda: pytest.xfail("known"), Status.FAILED, "XFailed: known"),
    "exit": (_exit, Status.FAILED, "SystemExit: 0"),
    "leave": (_leave, Status.FAILED, "Exit: enough"),
    "divide": (lambda: 1 / 0, Status.FAILED, "ZeroDivisionError: division by zero"),
    "unspeakable": (_fail(Unspeakable()), Status.FAILED, "Unspeakable: its message cannot be shown: RuntimeError"),
    "unprintable": (_fail(Unprintable()), Status.FAILED, "Unprintable: its message cannot be shown: TypeError"),
    "surrogate": (_fail(ValueError("half \ud800 \x1b[2J")), Status.FAILED, r"ValueError: half \ud800 \x1b[2J"),
    "megabytes": (_fail(ValueError("x" * 5_000_000)), Status.FAILED, "characters left out)"),
    "memory": (_fail(MemoryError()), Status.CRASHED, "MemoryError"),
    "recursion": (_fail(RecursionError("too deep")), Status.FAILED, "RecursionError: too deep"),
    "base": (_fail(BaseException("of no kind")), Status.FAILED, "BaseException: of no kind"),
}


@dataclass(frozen=True)
class Rude(Attack):
    """Flips labels, or does something else instead."""

    deed: str
    threat = LabelFlip.threat

    @property
    def label(self) -> str:
        return f"rude_{self.deed}"

    def budget(self, train_rows: int) -> int:
        return 10

    def craft(self, victim: Any, count: int, *, generator: torch.Generator) -> PoisonSet:
        poison = LabelFlip(count / len(victim.train)).craft(victim, count, generator=generator)
        if self.deed == "nan":
            return replace(poison, x=poison.x * torch.nan)
        if self.deed in DEEDS:
            DEEDS[self.deed][0]()
        return poison


def case(deed: str, **fields: Any) -> Case:
    return Case(TASK, Rude(deed), NoDefense(), scale=Scale.SMOKE, seeds=(0,), **fields)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return replace(settings_in(tmp_path), seeds=(0,))


def _session(cases: list[Case], settings: Settings, tmp_path: Path) -> BenchSession:
    return BenchSession(cases, settings, SessionPart(tmp_path / "scratch"), Path(__file__).parents[2], None)


def _run(session: BenchSession, of: Case) -> Record:
    """The record of a case, whatever became of it."""
    try:
        return session.run(of)
    except Unmeasured as unmeasured:
        return unmeasured.record


def _alone(of: Case, settings: Settings, tmp_path: Path) -> Record:
    session = _session([of], settings, tmp_path)
    try:
        return _run(session, of)
    finally:
        session.close()


@pytest.mark.usefixtures("forked_workers")
@pytest.mark.parametrize("engine", [EngineKind.THREADS, EngineKind.PROCESSES])
def test_every_case_ends_in_a_record_that_names_what_happened(
    engine: EngineKind, settings: Settings, tmp_path: Path
) -> None:
    cases = [case(deed) for deed in (*DEEDS, "nothing")]
    session = _session(cases, replace(settings, engine=engine), tmp_path)
    try:
        records = {of.attack.label.removeprefix("rude_"): _run(session, of) for of in cases}
    finally:
        session.close()
    assert records.pop("nothing").status is Status.OK
    for deed, (_, status, words) in DEEDS.items():
        record = records[deed]
        assert (record.status, record.metrics, record.verdict) == (status, {}, None), deed
        assert record.reason is not None
        assert words in record.reason, deed
        assert record.reason.startswith("tests/reliability/test_outcomes_of_cases.py:"), deed
        assert len(record.reason) < 2500
        assert Record.from_json(record.to_json()) == record


def test_poison_that_is_no_number_is_refused_by_name(settings: Settings, tmp_path: Path) -> None:
    record = _alone(case("nan", thresholds=(Threshold("rad", "<", 0.99),)), settings, tmp_path)
    assert (record.status, record.verdict) == (Status.FAILED, None)
    assert "rude_nan crafted values that are not finite" in str(record.reason)


def test_training_that_turns_nan_is_diverged_and_no_score(settings: Settings, tmp_path: Path) -> None:
    wild = Task("two_moons", Recipe("mlp1", SGD(1e30), batch_size=64, epochs=2))
    thresholds = (Threshold("rad", "<", 0.99), Threshold("rad", ">", -9))
    of = Case(wild, LabelFlip(0.1), NoDefense(), scale=Scale.SMOKE, seeds=(0, 1), thresholds=thresholds)
    first = _alone(of, settings, tmp_path)
    assert (first.status, first.metrics, first.verdict) == (Status.DIVERGED, {}, None)
    assert "2 of 2 trainings diverged: logits were not finite after epoch" in str(first.reason)
    assert "NaN" not in first.to_json()
    assert _alone(of, settings, tmp_path).reason == first.reason


@dataclass(frozen=True)
class Odd:
    """An experiment of a user's, which measures something odd."""

    found: str
    label: str = "odd"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        yield from lab.ask(lab.train(case.vanilla))
        match self.found:
            case "exit":
                raise SystemExit(3)
            case "nan":
                return Measurement({"rad": Estimate(float("nan"), None, None, n=1)}, {}, {})
            case "tensor":
                return Measurement({}, {"weights": torch.ones(2)}, {})
            case "surrogate":
                return Measurement({}, {"remark": "\udfff"}, {})
        loop: list[Any] = []
        loop.append(loop)
        return Measurement({}, {"loop": loop}, {})


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ("exit", "SystemExit: 3"),
        ("nan", "not JSON compliant"),
        ("tensor", "not JSON serializable"),
        ("surrogate", "half of a surrogate pair"),
        ("loop", "Circular reference"),
    ],
)
def test_what_cannot_be_recorded_fails_its_case(found: str, words: str, settings: Settings, tmp_path: Path) -> None:
    record = _alone(case("nothing", protocol=Odd(found)), settings, tmp_path)
    assert record.status is Status.FAILED
    assert words in str(record.reason)


def test_experiment_that_exits_is_no_end_of_the_cases_beside_it(settings: Settings, tmp_path: Path) -> None:
    good, bad = case("nothing"), case("nothing", protocol=Odd("exit"))
    session = _session([bad, good], settings, tmp_path)
    try:
        assert _run(session, good).status is Status.OK
        assert _run(session, bad).status is Status.FAILED
    finally:
        session.close()


def test_case_whose_name_cannot_be_written_is_refused_before_anything_runs(settings: Settings, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"case id .*\\x1b.*: expected printable characters"):
        _session([case("\x1b[2J")], settings, tmp_path)


@pytest.mark.parametrize("op", ["<", "<=", ">", ">="])
@pytest.mark.parametrize("end", [None, float("nan")])
def test_no_threshold_is_met_by_what_is_no_number(op: str, end: float | None) -> None:
    judgement = judge(Threshold("rad", op, 0.5), {"rad": Estimate(float("nan"), end, end, n=2)})
    assert not judgement.met
    assert judgement.verdict is not Verdict.PASS


def test_interrupts_are_no_failures_of_a_job() -> None:
    with pytest.raises(KeyboardInterrupt):
        as_failure(KeyboardInterrupt())
    for error in (SystemExit(3), GeneratorExit()):
        assert isinstance(as_failure(error), EndedByCode)
