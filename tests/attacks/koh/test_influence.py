"""Two rows that climb by influence."""

import pytest
import torch
from torch import Tensor

from gradshape.attacks import KohInfluence
from gradshape.attacks.koh._regularised_hinge import AddedRows, RegularisedHinge
from gradshape.attacks.koh.influence import InfluenceAscent, climb_by_influence, influence_gradient
from gradshape.constraints import FeasibleSets
from gradshape.learners.hinge import signed_rows
from tests.training.samples import blobs

CLASSES = torch.tensor([0, 1])
PAIR = blobs(rows=120, classes=2, spread=0.3, shape=(2, 3))


def _setup(seed: int, *, temperature: float) -> tuple[RegularisedHinge, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(50, 5, generator=generator).double(), torch.arange(50) % 2
    pair = torch.rand(2, 5, dtype=torch.float64, generator=generator)
    return (
        RegularisedHinge(signed_rows(x, y), decay=0.05, temperature=temperature),
        pair,
        torch.tensor([0.1, 0.2]).double(),
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_gradient_agrees_with_finite_differences(seed: int) -> None:
    learner, pair, mass = _setup(seed, temperature=0.1)

    def loss(x: Tensor) -> float:
        return learner.mean_loss(learner.fit(AddedRows(signed_rows(x, CLASSES), mass)))

    theta = learner.fit(AddedRows(signed_rows(pair, CLASSES), mass))
    exact = mass[:, None] * influence_gradient(learner, pair, mass, theta)
    steps = 1e-5 * torch.eye(10, dtype=torch.float64).view(10, 2, 5)
    differences = torch.tensor([(loss(pair + step) - loss(pair - step)) / 2e-5 for step in steps], dtype=torch.float64)
    assert float((exact.flatten() - differences).norm() / exact.norm()) < 1e-5


def _climb(steps: int) -> InfluenceAscent:
    x, y = PAIR.train.x.flatten(1).double(), PAIR.train.y
    sets = FeasibleSets.from_rows(x, y, quantile=0.9, boxed=True)
    start = torch.stack([sets.for_class(label).centroid for label in (0, 1)])
    return climb_by_influence(
        RegularisedHinge(signed_rows(x, y), decay=0.01),
        start,
        torch.tensor([0.05, 0.05]).double(),
        sets=sets,
        eta=0.1,
        steps=steps,
        every=2,
    )


def test_the_best_loss_never_falls_and_is_that_of_the_rows_returned() -> None:
    climb = _climb(20)
    assert list(climb.history) == sorted(climb.history)
    assert climb.history[-1] > climb.history[0]
    learner = RegularisedHinge(signed_rows(PAIR.train.x.flatten(1), PAIR.train.y), decay=0.01)
    theta = learner.fit(AddedRows(signed_rows(climb.x, CLASSES), torch.tensor([0.05, 0.05]).double()))
    assert climb.loss == climb.history[-1] == pytest.approx(learner.mean_loss(theta), abs=1e-6)
    assert climb.error == pytest.approx(learner.error(theta))


def test_it_ends_after_two_looks_without_gain() -> None:
    history = _climb(2000).history
    assert len(history) < 1001
    assert history[-1] == history[-2] == history[-3]


@pytest.mark.parametrize("fraction", [0.03, 0.1])
def test_two_distinct_rows_are_repeated_in_inverse_class_balance(fraction: float) -> None:
    dataset = blobs(rows=120, classes=2, spread=0.3)
    poison = KohInfluence(fraction, steps=4)(dataset, seed=0)
    assert len(poison.x.unique(dim=0)) <= 2
    assert int((poison.y == 1).sum()) == round(len(poison) * float((dataset.train.y == 0).double().mean()))


@pytest.mark.parametrize(("name", "value"), [("eta", 0.0), ("steps", 0), ("every", 0)])
def test_what_is_out_of_range_is_named(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name}={value}"):
        KohInfluence(0.03, **{name: value})  # type: ignore[arg-type]
