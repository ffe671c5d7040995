import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from gradshape.attacks import LabelFlip
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import Adam, Recipe
from gradshape_bench.case import UTILITY, Case, ExpectedFailure, Scale, Task
from gradshape_bench.chosen_engine import uses_processes
from gradshape_bench.matmul_precision import tf32_settings
from gradshape_bench.options import EngineKind, Settings
from gradshape_bench.progress import ProgressLine
from gradshape_bench.protocols import Experiment, Lab, Subject
from gradshape_bench.records.privacy_ledger import recipe_ledger
from gradshape_bench.records.record import Record, Status
from gradshape_bench.session import (
    BenchSession,
    SessionPart,
    Unmeasured,
    blank_record,
)
from gradshape_bench.verdict import Threshold, Verdict, judge
from tests.bench.sample import settings_in
from tests.reliability.faulty import Faulty

TASK = Task("two_moons", Recipe("lr", Adam(0.5), batch_size=64, epochs=2))
CASE = Case(
    TASK, LabelFlip(0.1), NoDefense(), scale=Scale.SMOKE, seeds=(0, 1), thresholds=(Threshold("rad", "<", 0.9),)
)
MISSING = replace(CASE, task=replace(TASK, dataset="location30"))


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("GRADSHAPE_DATA", str(tmp_path / "no_data"))
    return settings_in(tmp_path)


@pytest.fixture
def place(tmp_path: Path) -> SessionPart:
    return SessionPart(tmp_path / "scratch")


def run(case: Case, settings: Settings, place: SessionPart, progress: ProgressLine | None = None) -> Record:
    return BenchSession([case], settings, place, place.folder, progress).run(case)


def unmeasured(case: Case, settings: Settings, place: SessionPart) -> Record:
    with pytest.raises(Unmeasured) as caught:
        run(case, settings, place)
    return caught.value.record


def test_record_is_of_its_case(settings: Settings, place: SessionPart) -> None:
    record = run(CASE, settings, place)
    assert (record.case, record.fingerprint, record.status) == (CASE.id, CASE.fingerprint, Status.OK)


def test_record_has_its_thresholds_judged(settings: Settings, place: SessionPart) -> None:
    record = run(CASE, settings, place)
    assert record.judgements == (judge(CASE.thresholds[0], record.metrics),)


def test_record_says_where_it_was_measured(settings: Settings, place: SessionPart) -> None:
    environment = run(CASE, settings, place).environment
    assert {"gradshape", "source", "commit", "python", "torch", "numpy", "device", "processor"} <= set(environment)
    assert environment["device"].startswith("cpu")


@pytest.mark.parametrize("allowed", [True, False])
def test_tf32_is_set_for_the_run_recorded_and_restored(settings: Settings, place: SessionPart, allowed: bool) -> None:
    before = tf32_settings()
    environment = run(CASE, replace(settings, tf32=allowed), place).environment
    assert (environment["tf32"], environment["tf32_convolutions"]) == (allowed, allowed)
    assert tf32_settings() == before


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_record_has_the_ledger_of_its_recipe(settings: Settings, place: SessionPart, noise: float) -> None:
    case = replace(CASE, defense=GradientShaping(Clip(1) | Noise(noise)))
    record = Record.from_json(run(case, settings, place).to_json())
    assert record.details["privacy"] == recipe_ledger(case.recipe, 700)
    assert (record.details["privacy"]["epsilon"] is None) == (noise == 0)
    assert (record.details["privacy"]["reason"] is None) == (noise > 0)


def test_record_survives_json(settings: Settings, place: SessionPart) -> None:
    record = run(CASE, settings, place)
    assert Record.from_json(record.to_json()) == record


def test_finished_jobs_lie_in_the_cache(settings: Settings, place: SessionPart) -> None:
    run(CASE, settings, place)
    assert len(list(settings.cache_dir.rglob("*.job"))) == 6
    assert not place.folder.exists()


def test_without_cache_nothing_is_kept(settings: Settings, place: SessionPart) -> None:
    run(CASE, replace(settings, use_cache=False), place)
    assert not settings.cache_dir.exists()


def test_without_cache_nothing_is_used(settings: Settings, place: SessionPart, monkeypatch: pytest.MonkeyPatch) -> None:
    before = run(CASE, settings, place)
    for path in settings.cache_dir.rglob("*.job"):
        path.write_bytes(b"")
    again = run(CASE, replace(settings, use_cache=False), place)
    assert again.metrics == before.metrics
    assert all(path.stat().st_size == 0 for path in settings.cache_dir.rglob("*.job"))


def test_without_cache_processes_of_one_session_share_jobs(settings: Settings, place: SessionPart) -> None:
    uncached = replace(settings, use_cache=False)
    first = run(CASE, uncached, place)
    assert run(CASE, uncached, SessionPart(place.folder, processes=2, index=1)).seconds == first.seconds


def test_missing_data_is_skipped_with_the_command(settings: Settings, place: SessionPart) -> None:
    record = unmeasured(MISSING, settings, place)
    assert record.status is Status.SKIPPED
    assert record.reason is not None
    assert record.reason.startswith("data:")
    assert "python -m gradshape.data fetch location30" in record.reason


def test_required_data_that_is_missing_fails(settings: Settings, place: SessionPart) -> None:
    assert unmeasured(MISSING, replace(settings, require_data=True), place).status is Status.FAILED


def test_unknown_data_set_fails_with_near_matches(settings: Settings, place: SessionPart) -> None:
    record = unmeasured(replace(CASE, task=replace(TASK, dataset="two_mons")), settings, place)
    assert record.status is Status.FAILED
    assert "did you mean 'two_moons'" in str(record.reason)


def test_unknown_model_fails_with_near_matches(settings: Settings, place: SessionPart) -> None:
    other = replace(TASK, recipe=replace(TASK.recipe, model="mpl"))
    assert "did you mean 'mlp'" in str(unmeasured(replace(CASE, task=other), settings, place).reason)


def test_unknown_metric_fails_with_near_matches(settings: Settings, place: SessionPart) -> None:
    record = unmeasured(replace(CASE, thresholds=(Threshold("rat", "<", 0.1),)), settings, place)
    assert record.status is Status.FAILED
    assert "did you mean 'rad'" in str(record.reason)


def test_a_training_that_takes_too_long_is_a_timeout(settings: Settings, place: SessionPart) -> None:
    record = unmeasured(CASE, replace(settings, case_timeout=1e-9), place)
    assert record.status is Status.TIMEOUT
    limit = "took more than 1e-09 s, the limit of --case-timeout"
    assert record.reason in {f"training lr (seed {seed}) on two_moons {limit}" for seed in CASE.seeds}


def test_an_attack_that_runs_out_of_memory_has_crashed(settings: Settings, place: SessionPart) -> None:
    record = unmeasured(replace(CASE, attack=Faulty(0.1, way="memory")), settings, place)
    assert record.status is Status.CRASHED
    assert "crafting memory_10 (seed " in str(record.reason)
    assert ") on two_moons ran out of memory: MemoryError: no room on the shelf" in str(record.reason)


def test_nothing_is_said_to_run_after_a_case(settings: Settings, place: SessionPart) -> None:
    session = BenchSession([CASE], settings, place, place.folder, None)
    session.run(CASE)
    [mine] = settings.results.with_name("results.running").iterdir()
    assert mine.read_bytes() == b""
    session.close()
    assert not mine.parent.exists()


def test_two_cases_of_one_id_are_refused(settings: Settings, place: SessionPart) -> None:
    other = replace(CASE, seeds=(5,))
    with pytest.raises(ValueError, match=f"two different cases are called '{CASE.id}'"):
        BenchSession([CASE, other], settings, place, place.folder, None)


@dataclass(frozen=True)
class Interrupting:
    """An experiment that the user interrupts."""

    label: str = "interrupting"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        raise KeyboardInterrupt
        yield


def test_interrupt_is_no_failure_of_the_case(settings: Settings, place: SessionPart) -> None:
    with pytest.raises(KeyboardInterrupt):
        run(replace(CASE, protocol=Interrupting()), settings, place)


class Cleared(ProgressLine):
    """Counts how often it is told and cleared."""

    def __init__(self) -> None:
        super().__init__(lambda text: None, lambda: 0)
        self.updates = self.clears = 0

    def update(self, bundle: object, progress: Any) -> None:
        self.updates += 1

    def clear(self) -> None:
        self.clears += 1


def test_progress_is_told_and_cleared(settings: Settings, place: SessionPart) -> None:
    line = Cleared()
    run(CASE, settings, place, line)
    assert line.updates > 0
    assert line.clears == 1


def test_progress_is_cleared_after_a_failure(settings: Settings, place: SessionPart) -> None:
    line = Cleared()
    with pytest.raises(Unmeasured):
        run(MISSING, settings, place, line)
    assert line.clears == 1


def test_blank_record_has_the_labels_of_the_case() -> None:
    case = replace(CASE, expected_failure=ExpectedFailure("why", "where"))
    document = json.loads(blank_record(case, Status.CRASHED, "gone").to_json())
    assert {name: document[name] for name in case.labels} == case.labels
    assert (document["status"], document["reason"], document["expected_failure"]) == ("crashed", "gone", "why (where)")


def test_every_session_has_its_own_scratch_folder() -> None:
    one, other = SessionPart.alone(), SessionPart.alone()
    try:
        assert one.folder != other.folder
    finally:
        one.folder.rmdir()
        other.folder.rmdir()


@pytest.mark.parametrize(
    ("engine", "device", "cases", "workers", "expected"),
    [
        (EngineKind.AUTO, "cpu", 8, 2, True),
        (EngineKind.AUTO, "cpu", 7, 2, False),
        (EngineKind.AUTO, "cpu", 1_000, 1, False),
        (EngineKind.AUTO, "cuda:0", 1_000, 2, False),
        (EngineKind.THREADS, "cpu", 1_000, 2, False),
        (EngineKind.PROCESSES, "cuda:0", 1, 1, True),
    ],
)
def test_processes_run_jobs_where_they_are_asked_for_or_save_time(
    engine: EngineKind, device: str, cases: int, workers: int, expected: bool, settings: Settings
) -> None:
    chosen = replace(settings, engine=engine, device=device)
    assert uses_processes(chosen, cases=cases, workers=workers) is expected


def test_a_ruined_model_passes_no_bound_on_robustness(settings: Settings, place: SessionPart) -> None:
    """Weights that hardly move are moved by poison as little."""
    digits = Task("digits", Recipe("lr", Adam(1e-6), batch_size=64, epochs=1))
    bounds = (Threshold("rad", "<", 0.9), Threshold("utility_loss", "<", 0.9))
    case = replace(CASE, task=digits, defense=GradientShaping(Clip(1e-4)), thresholds=bounds)
    record = run(case, settings, place)
    rad, utility = record.judgements
    assert (rad.met, utility.met) == (False, True)
    assert rad.verdict is not Verdict.PASS
    assert "the clean model does not work: its accuracy" in str(rad.reason)
    assert Record.from_json(record.to_json()).judgements[0].reason == rad.reason


def test_every_case_has_a_bound_on_utility_unless_it_wants_none(settings: Settings, place: SessionPart) -> None:
    assert CASE.utility == UTILITY
    slow = replace(CASE, defense=GradientShaping(Clip(0.01)), thresholds=(Threshold("rad", "<", 0.99),))
    loss = run(replace(slow, utility=None), settings, place).metrics["utility_loss"].value
    assert loss > 0
    [missed] = run(replace(slow, utility=loss / 2), settings, place).judgements
    assert (missed.met, "utility_loss" in str(missed.reason)) == (False, True)
    for bound in (None, 2 * loss):
        [kept] = run(replace(slow, utility=bound), settings, place).judgements
        assert "utility_loss" not in str(kept.reason)


def test_values_of_the_seeds_are_recorded(settings: Settings, place: SessionPart) -> None:
    record = Record.from_json(run(CASE, settings, place).to_json())
    rad = record.metrics["rad"]
    assert len(rad.values) == len(record.seeds) == 2
    assert rad.value == pytest.approx(sum(rad.values) / 2)
    assert rad == rad.at(0.95)


def test_jobs_that_the_cache_had_are_counted(settings: Settings, place: SessionPart) -> None:
    # For each seed: vanilla and clean, which are one here, the poison and the poisoned model.
    first, again = run(CASE, settings, place), run(CASE, settings, place)
    assert (first.jobs, first.cached_jobs) == (6, 0)
    assert (again.jobs, again.cached_jobs) == (6, 6)


def between(settings: Settings, place: SessionPart) -> tuple[Threshold, Record]:
    """A bound that few seeds leave open, and what they measured."""
    record = run(CASE, settings, place)
    return Threshold("rad", "<", record.metrics["rad"].value + 1e-3), record


def test_more_seeds_are_trained_while_a_verdict_is_open(settings: Settings, place: SessionPart) -> None:
    bound, first = between(settings, place)
    record = run(replace(CASE, thresholds=(bound,)), replace(settings, max_seeds=5), place)
    assert record.seeds[:2] == first.seeds
    assert record.looks == (2, 4, 5)[: len(record.looks)]
    assert len(record.looks) > 1
    assert record.seeds == tuple(range(record.looks[-1]))
    assert record.planned_looks == 3
    assert record.metrics["rad"].values[:2] == first.metrics["rad"].values
    [judgement] = record.judgements
    assert judgement.estimate == record.metrics["rad"].at(1 - 0.05 / 3)
    assert Record.from_json(record.to_json()) == record


def test_seeds_that_are_added_follow_those_that_are_there(settings: Settings, place: SessionPart) -> None:
    bound, _ = between(settings, place)
    apart = replace(CASE, seeds=(1, 0), thresholds=(bound,))
    assert run(apart, replace(settings, max_seeds=4), place).seeds == (1, 0, 2, 3)


def test_seeds_are_not_wasted_on_what_is_decided(settings: Settings, place: SessionPart) -> None:
    record = run(CASE, replace(settings, max_seeds=20), place)
    assert (record.looks, record.seeds) == ((2,), (0, 1))
    none = run(replace(CASE, thresholds=()), replace(settings, max_seeds=20), place)
    assert (none.looks, none.seeds, none.planned_looks) == ((), (0, 1), 1)


def test_a_verdict_that_stays_open_is_shown_so_and_the_value_decides(settings: Settings, place: SessionPart) -> None:
    bound, _ = between(settings, place)
    record = run(replace(CASE, thresholds=(bound,)), settings, place)
    [judgement] = record.judgements
    assert (judgement.verdict, judgement.met) == (Verdict.INCONCLUSIVE, True)


def test_the_confidence_is_that_which_is_asked_for(settings: Settings, place: SessionPart) -> None:
    usual, sure = run(CASE, settings, place), run(CASE, replace(settings, confidence=0.999), place)
    assert sure.confidence == 0.999
    assert sure.metrics["rad"] == usual.metrics["rad"].at(0.999) != usual.metrics["rad"]
    assert sure.metrics["rad_best"].low == sure.metrics["rad"].low


def test_like_is_what_has_the_same_rows_attack_and_protocol() -> None:
    alike: list[dict[str, Any]] = [{"seeds": (3,)}, {"thresholds": ()}, {"utility": None}, {"defense": NoDefense()}]
    other: list[dict[str, Any]] = [
        {"attack": LabelFlip(0.2)},
        {"task": replace(TASK, dataset="digits")},
        {"scale": Scale.PAPER},
    ]
    shaped = replace(CASE, defense=GradientShaping(Clip(1.0)))
    assert {replace(shaped, **change).challenge for change in alike} == {CASE.challenge}
    assert CASE.challenge not in {replace(shaped, **change).challenge for change in other}
