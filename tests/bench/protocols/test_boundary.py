import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from gradshape.attacks import LabelFlip, NoAttack
from gradshape.data import load
from gradshape.defenses import Defense, GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Fit, Recipe
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import Train
from gradshape_bench.protocols import Accuracy, DecisionBoundary, Lab, Measurement, meaning
from gradshape_bench.report.headline import damage, judged
from gradshape_bench.report.metric_definitions import METRICS
from tests.bench.protocols.test_from_scratch import DropFirst
from tests.bench.report.board.reading import task_page
from tests.bench.sample import make
from tests.bench.spy import measured

MOONS = load("two_moons")
TASK = Task("two_moons", Recipe("lr", SGD(10.0), batch_size=100, epochs=10))
NOISY = GradientShaping(Clip(1) | Noise(1))
CASE = Case(TASK, NoAttack(), NoDefense(), scale=Scale.PAPER, seeds=(0, 1), protocol=DecisionBoundary(side=8))


def measure(tmp_path: Path, *, defense: Defense | None = None, protocol: DecisionBoundary | None = None) -> Measurement:
    case = replace(CASE, defense=defense or NoDefense(), protocol=protocol or CASE.protocol)
    return measured(tmp_path, case)


def cells(picture: dict[str, Any], name: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(picture[name]))).reshape(picture["side"], picture["side"])


def test_without_a_defence_both_models_are_the_same(tmp_path: Path) -> None:
    found = measure(tmp_path).metrics
    assert found["utility_loss"].value == 0
    for name in ("boundary_length", "uncertain_area"):
        assert found[name] == found[f"{name}_vanilla"]


def test_a_defence_has_a_boundary_of_its_own(tmp_path: Path) -> None:
    found = measure(tmp_path, defense=NOISY).metrics
    plain = measure(tmp_path).metrics
    assert found["uncertain_area"] != found["uncertain_area_vanilla"] == plain["uncertain_area"]
    assert found["accuracy_vanilla"] == plain["accuracy_clean"]


def test_the_upper_moon_is_one_class_and_the_lower_one_the_other(tmp_path: Path) -> None:
    picture = measure(tmp_path).details["picture"]
    classes = cells(picture, "classes")
    assert classes[-1, 2] == 0
    assert classes[0, 5] == 1
    assert cells(picture, "confidence").min() >= 127


@pytest.mark.parametrize("accuracy", Accuracy)
def test_state_is_that_of_the_chosen_epoch(accuracy: Accuracy) -> None:
    case = replace(CASE, protocol=DecisionBoundary(accuracy, side=2), seeds=(0,))
    running = case.protocol.run(case, Lab(case, MOONS, "cpu"))
    jobs = next(running)
    assert all(isinstance(job, Train) and job.keep_states for job in jobs)
    from gradshape.training import TrainingResult

    def state(label: int) -> dict[str, torch.Tensor]:
        return {"head.weight": torch.zeros(2, 2), "head.bias": torch.eye(2)[label]}

    result = TrainingResult(torch.tensor([0.9, 0.8], dtype=torch.float64), last=state(0), best=state(1))
    with pytest.raises(StopIteration) as stop:
        running.send([result] * len(jobs))
    picture = stop.value.value.details["picture"]
    assert picture["classes"] == {Accuracy.BEST: "01" * 4, Accuracy.LAST: "00" * 4}[accuracy]
    assert stop.value.value.metrics["accuracy_clean"].value == {Accuracy.BEST: 0.9, Accuracy.LAST: 0.8}[accuracy]


def test_picture_is_plain_and_whole(tmp_path: Path) -> None:
    picture = json.loads(json.dumps(measure(tmp_path).details["picture"]))
    assert len(picture["classes"]) == len(picture["confidence"]) == 2 * 8 * 8
    assert len(picture["train"]) == 700
    assert {label for _, _, label in picture["train"]} == {0, 1}


def test_a_defence_that_filters_is_asked(tmp_path: Path) -> None:
    case = replace(CASE, defense=DropFirst())
    running = case.protocol.run(case, Lab(case, MOONS, "cpu"))
    keep = torch.arange(700) > 0
    trained = running.send([keep for _ in next(running)])
    assert [job.keep is keep for job in trained if isinstance(job, Train)] == [False, False, True, True]


def test_every_metric_is_defined(tmp_path: Path) -> None:
    names = measure(tmp_path).metrics.keys()
    assert {name for name in names if not name.endswith(("_best", "_last"))} <= METRICS.keys()


def test_labels_are_defined() -> None:
    labels = [DecisionBoundary().label, DecisionBoundary(Accuracy.LAST).label]
    assert labels == ["boundary", "boundary_last"]
    assert all(map(meaning, labels))
    assert replace(CASE, defense=NOISY).id == "two_moons-lr-no_attack-dp_sgd_c1_s1-boundary"


def test_a_board_shows_the_length_and_ranks_nothing(tmp_path: Path) -> None:
    record = make(metrics=dict(measure(tmp_path).metrics), thresholds=(), attack="no_attack", protocol="boundary")
    assert damage(record) == record.metrics["boundary_length"]
    assert judged(record) is None
    assert "### How long the boundary between the classes was (`boundary_length` ↓)" in task_page([record])


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("digits", r"digits has rows of shape \(1, 8, 8\) and 10 classes: boundary expects shape \(2,\) and classes"),
        ("diabetes", "and values: boundary expects"),
    ],
)
def test_other_data_is_refused(name: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        next(CASE.protocol.run(CASE, Lab(CASE, load(name), "cpu")))


def test_an_attack_is_refused() -> None:
    case = replace(CASE, attack=LabelFlip(0.1))
    with pytest.raises(ValueError, match="attack 'label_flip_10': boundary trains on clean data only"):
        next(case.protocol.run(case, Lab(case, MOONS, "cpu")))


def test_an_estimator_is_refused() -> None:
    case = replace(CASE, task=Task("two_moons", Fit("logistic")))
    with pytest.raises(ValueError, match="'logistic' is fitted by an estimator: boundary needs a recipe"):
        next(case.protocol.run(case, Lab(case, MOONS, "cpu")))


@pytest.mark.parametrize(
    ("values", "problem"), [({"side": 0}, "side=0"), ({"accuracy": "last"}, "expected one of Accuracy.BEST")]
)
def test_bad_settings_are_refused(values: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        DecisionBoundary(**values)
