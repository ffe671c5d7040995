"""Poisoning of differentially-private learners."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from gradshape.attacks import Crafting, PrivateLearnerPoisoning, ReleaseGoal, RowDescent, RowSelection
from gradshape.attacks._evaluation import Cost, Evaluation, ParameterDistance
from gradshape.attacks.private_learners.row_descent import (
    cost_gradient,
    descend_rows,
    select_deep,
    select_shallow,
)
from gradshape.data import Dataset, Split
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation, PrivateLearner, PrivateNoise
from tests.training.samples import blobs

LEARNERS: dict[str, PrivateLearner] = {
    "objective": ObjectivePerturbation(1.0, ridge=3.0),
    "output": OutputPerturbation(5.0, ridge=3.0, bound=100.0),
    "output-on-its-bound": OutputPerturbation(5.0, ridge=3.0, bound=0.3),
}
each_learner = pytest.mark.parametrize("learner", LEARNERS.values(), ids=LEARNERS)
BLOBS = blobs(rows=80, classes=2, spread=0.4)
QUICK = RowDescent(steps=12, judges=8, draws=2, every=3)


def _problem(rows: int = 60, width: int = 3, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Rows in the unit ball and their labels, to train on and to judge by."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(2 * rows, width, dtype=torch.float64, generator=generator)
    signs = torch.where(x[:, 0] + 0.3 * torch.randn(2 * rows, generator=generator) > 0, 1.0, -1.0).double()
    x = x / x.norm(dim=1, keepdim=True).clamp_min(1)
    return x[:rows], signs[:rows], x[rows:], signs[rows:]


def mean_cost(x: Tensor, signs: Tensor, cost: Cost, learner: PrivateLearner, *, noise: Tensor) -> float:
    """Return the mean cost of the parameters that are released with the random vectors ``noise`` ``(K, d)``."""
    return float(cost.value(learner.solve(x, signs, noise).released).mean())


def _costs(learner: PrivateLearner) -> dict[str, Cost]:
    _, _, judged, signs = _problem()
    return {
        "label-aversion": Evaluation(judged, signs, weight=-1.0, loss=learner.loss),
        "label-target": Evaluation(judged, -signs, loss=learner.loss),
        "parameter-target": ParameterDistance(torch.tensor([-1.0, 0.5, 0.0], dtype=torch.float64)),
    }


def _noise(learner: PrivateLearner, count: int) -> Tensor:
    return learner.perturbation(60).draw(count, 3, generator=torch.Generator().manual_seed(7))


@each_learner
@pytest.mark.parametrize("aim", ["label-aversion", "label-target", "parameter-target"])
def test_the_gradient_equals_finite_differences(learner: PrivateLearner, aim: str) -> None:
    x, signs, _, _ = _problem()
    cost, noise, rows, step = _costs(learner)[aim], _noise(learner, 3), torch.tensor([4, 17]), 1e-5
    found, _ = cost_gradient(x, signs, rows, cost, learner, noise=noise)
    expected = torch.empty_like(found)
    for i, row in enumerate(rows):
        for j in range(3):
            ends = []
            for side in (step, -step):
                moved = x.clone()
                moved[row, j] += side
                ends.append(mean_cost(moved, signs, cost, learner, noise=noise))
            expected[i, j] = (ends[0] - ends[1]) / (2 * step)
    assert (found - expected).norm() < 1e-5 * expected.norm()


@pytest.mark.parametrize("surrogate", [False, True], ids=["dpv", "sv"])
def test_more_rows_do_more_harm(surrogate: bool) -> None:
    learner = ObjectivePerturbation(1.0, noise=PrivateNoise.LAPLACE)
    x, signs, _, _ = _problem()
    cost = _costs(learner)["label-aversion"]
    common, costs = _noise(learner, 200), []
    costs.append(mean_cost(x, signs, cost, learner, noise=common))
    for count in (5, 15, 60):
        generator = torch.Generator().manual_seed(1)
        rows = select_shallow(
            x, signs, torch.arange(60), cost, learner, count=count, draws=64, surrogate=surrogate, generator=generator
        )
        edited = descend_rows(x, signs, rows, cost, learner, RowDescent(), surrogate=surrogate, generator=generator)
        costs.append(mean_cost(edited.x, signs, cost, learner, noise=common))
    assert all(more < less - 0.01 for less, more in pairwise(costs))
    assert costs[-1] < 1.5 * costs[0]


@pytest.mark.parametrize("count", [1, 5, 20])
@pytest.mark.parametrize("epsilon", [0.1, 0.5])
def test_no_edit_beats_the_bound_of_the_private_learner(count: int, epsilon: float) -> None:
    # J~ >= exp(-k epsilon) J for costs of at least 0 (Ma et al. 2019, theorem 1).
    learner = ObjectivePerturbation(epsilon)
    x, signs, _, _ = _problem()
    cost, common = _costs(learner)["label-target"], _noise(learner, 500)
    generator = torch.Generator().manual_seed(0)
    rows = select_shallow(x, signs, torch.arange(60), cost, learner, count=count, draws=32, generator=generator)
    edited = descend_rows(x, signs, rows, cost, learner, RowDescent(steps=60), generator=generator)
    before = mean_cost(x, signs, cost, learner, noise=common)
    after = mean_cost(edited.x, signs, cost, learner, noise=common)
    assert math.exp(-count * epsilon) * before <= after < before


@pytest.mark.parametrize("half_width", [None, 3**-0.5], ids=["ball", "box"])
@each_learner
def test_other_rows_stay_and_edited_ones_stay_in_their_set(learner: PrivateLearner, half_width: float | None) -> None:
    x, signs, _, _ = _problem()
    x = x / math.sqrt(3)
    rows = torch.tensor([3, 8, 30])
    edited = descend_rows(
        x,
        signs,
        rows,
        _costs(learner)["label-aversion"],
        learner,
        RowDescent(steps=30, step_size=0.5),
        half_width=half_width,
        generator=torch.Generator().manual_seed(0),
    )
    others = torch.ones(60, dtype=torch.bool)
    others[rows] = False
    assert torch.equal(edited.x[others], x[others])
    assert (edited.x[rows] != x[rows]).any(1).all()
    assert edited.x.norm(dim=1).max() <= 1 + 1e-12
    if half_width is not None:
        assert edited.x.abs().max() <= half_width
    assert all(later <= earlier for earlier, later in pairwise(edited.history))
    assert edited.cost == edited.history[-1] < edited.clean


def test_a_box_that_leaves_the_ball_is_refused() -> None:
    x, signs, _, _ = _problem()
    learner = ObjectivePerturbation(1.0)
    cost, generator = _costs(learner)["label-aversion"], torch.Generator()
    with pytest.raises(ValueError, match=r"half_width=0.6: expected at most 0.577"):
        descend_rows(x, signs, torch.tensor([0]), cost, learner, QUICK, half_width=0.6, generator=generator)


def test_attraction_keeps_rows_near() -> None:
    x, signs, _, _ = _problem()
    learner = ObjectivePerturbation(1.0)
    cost, rows, moved = _costs(learner)["label-aversion"], torch.arange(10), []
    for attraction in (0.0, 0.05):
        descent = RowDescent(steps=40, attraction=attraction)
        edited = descend_rows(x, signs, rows, cost, learner, descent, generator=torch.Generator().manual_seed(0))
        moved.append(float((edited.x - x).norm()))
    assert moved[1] < 0.8 * moved[0]


def test_shallow_selection_takes_the_longest_gradients() -> None:
    x, signs, _, _ = _problem()
    learner = ObjectivePerturbation(1.0)
    cost, editable = _costs(learner)["label-aversion"], torch.arange(0, 60, 2)
    chosen = select_shallow(
        x, signs, editable, cost, learner, count=4, draws=1, surrogate=True, generator=torch.Generator()
    )
    gradient, _ = cost_gradient(x, signs, editable, cost, learner, noise=torch.zeros(1, 3, dtype=torch.float64))
    assert chosen.tolist() == editable[gradient.norm(dim=1).argsort(descending=True)[:4]].tolist()


def test_deep_selection_takes_distinct_editable_rows() -> None:
    x, signs, _, _ = _problem()
    learner = ObjectivePerturbation(1.0)
    cost, editable = _costs(learner)["label-aversion"], torch.arange(0, 60, 2)
    generator = torch.Generator().manual_seed(0)
    chosen = select_deep(x, signs, editable, cost, learner, QUICK, count=7, generator=generator)
    assert len(chosen.unique()) == 7
    assert (chosen % 2 == 0).all()


@pytest.mark.parametrize("aim", ReleaseGoal)
@pytest.mark.parametrize("selection", RowSelection)
def test_edited_rows_replace_their_originals_and_keep_their_labels(aim: ReleaseGoal, selection: RowSelection) -> None:
    poison = PrivateLearnerPoisoning(0.1, aim=aim, selection=selection, descent=QUICK)(BLOBS, seed=1)
    assert len(poison) == 8
    assert torch.equal(poison.replaced, poison.source)
    assert torch.equal(poison.y, BLOBS.train.y[poison.source])
    assert poison.notes["cost"] < poison.notes["clean_cost"]


def test_test_rows_play_no_part() -> None:
    other = Dataset("other", BLOBS.train, Split(BLOBS.test.x.flip(0), BLOBS.test.y), num_classes=2)
    attack = PrivateLearnerPoisoning(0.1, descent=QUICK)
    assert attack(other, seed=0).fingerprint == attack(BLOBS, seed=0).fingerprint


def test_progress_is_reported_and_never_falls() -> None:
    told: list[Crafting] = []
    PrivateLearnerPoisoning(0.1, descent=QUICK)(BLOBS, seed=0, progress=told.append)
    assert [each.step for each in told] == [3, 6, 9, 12]
    assert all(later.objective >= earlier.objective for earlier, later in pairwise(told))


@pytest.mark.parametrize(
    ("attack", "label"),
    [
        (PrivateLearnerPoisoning(0.1), "dpv_eps1_label_aversion_10"),
        (PrivateLearnerPoisoning(0.05, surrogate=True, selection=RowSelection.DEEP), "sv_deep_eps1_label_aversion_5"),
        (
            PrivateLearnerPoisoning(
                0.1, OutputPerturbation(0.5, noise=PrivateNoise.GAUSSIAN), ReleaseGoal.LABEL_TARGET
            ),
            "dpv_ridge_gaussian_eps0.5_label_target_10",
        ),
    ],
    ids=lambda value: str(value),
)
def test_the_label_says_the_percentage_last(attack: PrivateLearnerPoisoning, label: str) -> None:
    assert attack.label == label


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fraction": 0.8}, "fraction=0.8: expected 0 to 0.75"),
        ({"fraction": 0.1, "holdout": 0.0}, "holdout=0.0"),
        ({"fraction": 0.1, "selection_draws": 0}, "selection_draws=0"),
    ],
    ids=["fraction", "holdout", "draws"],
)
def test_a_bad_argument_is_named(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PrivateLearnerPoisoning(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "value"), [("steps", 0), ("step_size", 0.0), ("draws", 0), ("attraction", -1.0), ("judges", 0)]
)
def test_a_bad_descent_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value!r}"):
        replace(QUICK, **{name: value})  # type: ignore[arg-type]


def test_more_than_two_classes_are_refused() -> None:
    reason = PrivateLearnerPoisoning(0.1).unsuitable(blobs(rows=30, classes=3))
    assert reason is not None
    assert "3 classes" in reason
