from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape.attacks import Attack, BadNetsPatch, LabelFlip, Watermark
from gradshape.defenses import NoDefense
from gradshape.metrics import largest, mean_over_seeds
from gradshape.training import Adam, Recipe
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.engines import ThreadEngine
from gradshape_bench.matrix import Matrix
from gradshape_bench.measured_case import MeasuredCase
from gradshape_bench.protocols import FromScratch, Utility, WorstCase, WorstOf, meaning
from gradshape_bench.schedule import Scheduler
from gradshape_bench.verdict import Threshold

TASK = Task("two_moons", Recipe("lr", Adam(0.5), batch_size=64, epochs=2))
ATTACKS: tuple[Attack, ...] = (LabelFlip(0.3), Watermark(0.5, 0.3), LabelFlip(0.3, feasible_quantile=0.9))
CASE = Case(TASK, WorstOf(ATTACKS), NoDefense(), scale=Scale.SMOKE, seeds=(0, 1, 2), protocol=WorstCase())
SINGLE = [replace(CASE, attack=attack, protocol=FromScratch()) for attack in ATTACKS]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> list[MeasuredCase]:
    cache = Cache(tmp_path_factory.mktemp("cache"))
    scheduler = Scheduler([*SINGLE, CASE], cache=cache, engine=ThreadEngine(workers=1, max_memory=1 << 28))
    return [scheduler.measure(case) for case in (*SINGLE, CASE)]


def test_the_worst_attack_counts(measured: list[MeasuredCase]) -> None:
    *single, worst = (one.measurement for one in measured)
    rads = [one.metrics["rad"].value for one in single]
    assert worst.metrics["rad"].value == max(rads)
    assert worst.details["worst_attack"] == ATTACKS[rads.index(max(rads))].label
    assert worst.details["attacks"] == {
        attack.label: pytest.approx(rad, abs=1e-6) for attack, rad in zip(ATTACKS, rads, strict=True)
    }
    assert worst.metrics["utility_loss"] == single[0].metrics["utility_loss"]


def test_choosing_the_worst_does_not_flatter_the_interval(measured: list[MeasuredCase]) -> None:
    *single, worst = (one.measurement.metrics["rad"] for one in measured)
    largest = max(single, key=lambda estimate: estimate.value)
    assert worst.low is not None
    assert worst.high is not None
    assert largest.low is not None
    assert largest.high is not None
    shared = [estimate.at(1 - 0.05 / len(single)) for estimate in single]
    assert worst.low == max(estimate.low for estimate in shared if estimate.low is not None)
    assert worst.high == max(estimate.high for estimate in shared if estimate.high is not None)
    assert worst.high > largest.high
    assert worst.at(0.5).high < worst.high  # type: ignore[operator]


def test_it_takes_no_job_that_the_single_cases_do_not_take(tmp_path: Path) -> None:
    engine = ThreadEngine(workers=1, max_memory=1 << 28)
    first = Scheduler(SINGLE, cache=Cache(tmp_path), engine=engine)
    for case in SINGLE:
        first.measure(case)
    found = Scheduler([CASE], cache=Cache(tmp_path), engine=engine).measure(CASE)
    assert found.jobs == found.cached_jobs > 0


def test_the_interval_of_the_largest_holds_the_largest_truth() -> None:
    narrow, wide = mean_over_seeds([0.20, 0.21, 0.20]), mean_over_seeds([0.0, 0.3, 0.1])
    found = largest([narrow, wide])
    assert found.value == narrow.value
    high = wide.at(1 - 0.05 / 2).high
    assert high is not None
    assert found.high == high
    assert largest([mean_over_seeds([0.1]), narrow]).high is None


def test_a_matrix_adds_the_worst_of_its_attacks() -> None:
    bound = Threshold("rad", "<", 0.9)
    matrix = Matrix([TASK], ATTACKS, [NoDefense()], thresholds=[bound], worst_case=True)
    *single, worst = matrix.cases(Scale.SMOKE, (0, 1))
    assert [case.attack for case in single] == list(ATTACKS)
    assert worst.id == "two_moons-lr-worst_of_3_30-vanilla-worst_case"
    assert worst.thresholds == (bound,)
    assert worst.attack == WorstOf(ATTACKS)


def test_the_attacker_knows_what_one_of_the_attacks_knows() -> None:
    threat = WorstOf(ATTACKS).threat
    for name in ("training_data", "algorithm", "parameters", "features"):
        assert getattr(threat, name).granted == any(getattr(one.threat, name).granted for one in ATTACKS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"attack": LabelFlip(0.3)}, "label_flip_30'?: worst_case expects a WorstOf"),
        ({"attack": WorstOf((LabelFlip(0.1), LabelFlip(0.3)))}, "budgets of 700 rows differ"),
        ({"attack": WorstOf(ATTACKS), "protocol": WorstCase(Utility())}, "trains on clean data only|measures none"),
        ({"attack": WorstOf((LabelFlip(0.3), BadNetsPatch(2, 0.3)))}, "badnets"),
    ],
)
def test_what_cannot_be_compared_is_refused(change: dict[str, Any], message: str, tmp_path: Path) -> None:
    case = replace(CASE, **change)
    scheduler = Scheduler([case], cache=Cache(tmp_path), engine=ThreadEngine(workers=1, max_memory=1 << 28))
    with pytest.raises(ValueError, match=message):
        scheduler.measure(case)


@pytest.mark.parametrize("attacks", [(LabelFlip(0.1),), (LabelFlip(0.1), LabelFlip(0.1))])
def test_the_worst_is_one_of_several(attacks: tuple[Attack, ...]) -> None:
    with pytest.raises(ValueError, match="expected at least two attacks of different labels"):
        WorstOf(attacks)


def test_a_reader_is_told_what_it_is() -> None:
    assert "worst counts" in str(meaning(WorstCase().label))
    assert "backdoor" in str(meaning("worst_case_backdoor_last"))
    assert meaning("worst_case_mine") is None
