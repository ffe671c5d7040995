"""Rows that make parameters optimal."""

import pytest
import torch

from gradshape.attacks.koh._balance import BalanceProblem, BalanceSolution, balance_gradient
from gradshape.attacks.koh._regularised_hinge import AddedRows, RegularisedHinge
from gradshape.constraints import FeasibleSets
from gradshape.learners.hinge import signed_rows
from tests.constraints.sets import points_of


def _setup(seed: int, *, width: int = 4) -> tuple[RegularisedHinge, FeasibleSets, torch.Generator]:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(60) % 2
    x = (torch.rand(60, width, generator=generator) * 0.7 + 0.3 * y[:, None]).double()
    sets = FeasibleSets.from_rows(x, y, quantile=0.9, boxed=True)
    return RegularisedHinge(signed_rows(x, y), decay=0.05), sets, generator


def _problem(
    learner: RegularisedHinge, theta: torch.Tensor, mass: torch.Tensor, least: float = -50.0
) -> BalanceProblem:
    slope = learner.loss_gradient(theta) + learner.decay_weights(float(mass.sum())) * theta
    return BalanceProblem(slope[None, :-1], theta[None], mass[None], torch.full((1, 2), least).double())


@pytest.mark.parametrize("seed", range(8))
def test_where_nothing_is_left_retraining_recovers_the_parameters(seed: int) -> None:
    learner, sets, _ = _setup(seed)
    # Rows in the wrong class's middle have losses: parameters trained on them are optimal for them.
    x = torch.stack([sets.for_class(label).project(sets.for_class(1 - label).centroid[None])[0] for label in (0, 1)])
    mass = torch.tensor([0.06, 0.05]).double()
    theta = learner.fit(AddedRows(signed_rows(x, torch.tensor([0, 1])), mass))
    solved = balance_gradient(_problem(learner, theta, mass), sets=sets, steps=3000, tolerance=1e-9)
    assert float(solved.objective) < 1e-6
    again = learner.fit(AddedRows(signed_rows(solved.x[0], torch.tensor([0, 1])), mass))
    assert torch.allclose(again, theta, rtol=0, atol=1e-3)


@pytest.mark.parametrize("seed", range(8))
def test_no_rows_drawn_at_random_leave_less(seed: int) -> None:
    learner, sets, generator = _setup(seed)
    theta = torch.randn(5, dtype=torch.float64, generator=generator)
    mass = torch.tensor([0.2, 0.3]).double()
    # No margin exceeds 1 at parameters so short, so that every row of the sets is allowed.
    problem = _problem(learner, 0.1 * theta, mass)
    solved = balance_gradient(problem, sets=sets, steps=1000, tolerance=1e-8)
    negative, positive = (points_of(sets.for_class(label), 4000, generator)[:1000] for label in (0, 1))
    fewer = min(len(negative), len(positive))
    left = problem.gradient + 0.2 * negative[:fewer] - 0.3 * positive[:fewer]
    assert float(solved.objective) <= float(left.norm(dim=1).min()) + 1e-6


def _solved(steps: int) -> tuple[FeasibleSets, BalanceProblem, BalanceSolution]:
    learner, sets, _ = _setup(3)
    theta = torch.cat([2 * learner.fit()[:-1], learner.fit()[-1:] * 2])
    problem = _problem(learner, theta, torch.tensor([0.1, 0.1]).double(), least=0.4)
    return sets, problem, balance_gradient(problem, sets=sets, steps=steps, tolerance=1e-7)


def test_rows_are_in_their_sets_and_their_margins_in_between() -> None:
    sets, problem, solved = _solved(4000)
    y = torch.tensor([0, 1])
    assert sets.contains(solved.x[0], y).all()
    margins = signed_rows(solved.x[0], y) @ problem.theta[0]
    assert bool(((margins >= 0.4 - 1e-4) & (margins <= 1 + 1e-4)).all())


def test_rows_are_in_their_sets_however_few_the_turns() -> None:
    sets, _, solved = _solved(1)
    assert sets.contains(solved.x[0], torch.tensor([0, 1])).all()


def test_problems_are_solved_alike_alone_and_together() -> None:
    learner, sets, generator = _setup(5)
    thetas = [torch.randn(5, dtype=torch.float64, generator=generator) for _ in range(3)]
    mass = torch.tensor([0.1, 0.0]).double()
    alone = [_problem(learner, theta, mass) for theta in thetas]
    names = ("gradient", "theta", "mass", "least")
    together = BalanceProblem(*(torch.cat([getattr(one, name) for one in alone]) for name in names))
    apart = torch.cat([balance_gradient(one, sets=sets, steps=60, tolerance=0).objective for one in alone])
    assert torch.allclose(
        balance_gradient(together, sets=sets, steps=60, tolerance=0).objective, apart, rtol=0, atol=1e-6
    )


def test_what_is_out_of_range_is_named() -> None:
    learner, sets, _ = _setup(0)
    problem = _problem(learner, learner.fit(), torch.tensor([0.1, 0.1]).double())
    with pytest.raises(ValueError, match="steps=0"):
        balance_gradient(problem, sets=sets, steps=0)
