"""The weight-decayed smoothed SVM."""

import pytest
import torch
from torch import Tensor

from gradshape.attacks.koh._regularised_hinge import AddedRows, RegularisedHinge
from gradshape.learners.hinge import signed_rows


def _learner(seed: int, *, rows: int = 40, width: int = 4, temperature: float = 1e-3) -> RegularisedHinge:
    generator = torch.Generator().manual_seed(seed)
    y = torch.arange(rows) % 2
    x = torch.rand(rows, width, generator=generator) + 0.3 * y[:, None]
    return RegularisedHinge(signed_rows(x, y), decay=0.05, temperature=temperature)


def _objective(learner: RegularisedHinge, theta: Tensor, added: AddedRows | None = None) -> Tensor:
    """Written down once more, for automatic differentiation."""
    total = learner.loss.value(learner.rows @ theta).mean()
    extra = 0.0
    if added is not None:
        total = total + added.mass @ learner.loss.value(added.rows @ theta)
        extra = float(added.mass.sum())
    return total + (1 + extra) * learner.decay / 2 * (theta[:-1] @ theta[:-1] + 1e-4 * theta[-1] ** 2)


def _some(learner: RegularisedHinge) -> AddedRows:
    return AddedRows(-learner.rows[:3], torch.tensor([0.1, 0.2, 0.05]).double())


@pytest.mark.parametrize("temperature", [1e-3, 1e-2, 0.5])
@pytest.mark.parametrize("seed", range(6))
def test_the_gradient_is_0_at_the_minimum(seed: int, temperature: float) -> None:
    learner = _learner(seed, temperature=temperature)
    added = _some(learner)
    theta = learner.fit(added).requires_grad_()
    [gradient] = torch.autograd.grad(_objective(learner, theta, added), theta)
    assert float(gradient.norm()) < 1e-8


@pytest.mark.parametrize("width", [4, 60])
def test_a_warm_start_leads_to_the_same_minimum(width: int) -> None:
    learner = _learner(1, width=width)
    cold = learner.fit(_some(learner))
    warm = learner.fit(_some(learner), start=learner.fit())
    assert torch.allclose(cold, warm, rtol=0, atol=1e-7)


@pytest.mark.parametrize("width", [4, 60])
def test_solving_with_the_hessian_agrees_with_automatic_differentiation(width: int) -> None:
    learner = _learner(2, width=width, temperature=0.1)
    added = _some(learner)
    theta = learner.fit(added)
    matrix = torch.autograd.functional.hessian(lambda at: _objective(learner, at, added), theta)
    right = learner.loss_gradient(theta)
    assert torch.allclose(matrix @ learner.solve(theta, right, added=added), right, rtol=0, atol=1e-9)


def test_mass_counts_copies() -> None:
    learner = _learner(3)
    repeated = AddedRows(-learner.rows[:1].repeat(4, 1), torch.full((4,), 1 / 40).double())
    once = AddedRows(-learner.rows[:1], torch.tensor([0.1]).double())
    assert torch.allclose(learner.fit(repeated), learner.fit(once), rtol=0, atol=1e-8)


def test_loss_and_error_are_those_of_the_clean_rows() -> None:
    learner = RegularisedHinge(signed_rows(torch.tensor([[0.0], [0.4], [1.0]]), torch.tensor([0, 1, 1])), decay=1.0)
    theta = torch.tensor([2.0, -1.0]).double()
    assert learner.error(theta) == pytest.approx(1 / 3)
    assert learner.mean_loss(theta) == pytest.approx(1.2 / 3, abs=1e-3)


def test_without_rows_there_is_no_learner() -> None:
    with pytest.raises(ValueError, match="at least 1 row"):
        RegularisedHinge(torch.zeros(0, 3).double(), decay=1.0)


@pytest.mark.parametrize(("decay", "temperature"), [(0.0, 0.1), (0.1, 0.0)])
def test_what_is_out_of_range_is_named(decay: float, temperature: float) -> None:
    with pytest.raises(ValueError, match=r"(decay|temperature)=0\.0"):
        RegularisedHinge(torch.ones(1, 2).double(), decay=decay, temperature=temperature)


def test_rows_that_are_not_finite_are_refused() -> None:
    with pytest.raises(ValueError, match="expected finite rows"):
        RegularisedHinge(torch.full((2, 2), torch.nan).double(), decay=0.1).fit()
