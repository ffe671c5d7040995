import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from gradshape.learners import dual_softmax, fit_dual_softmax


def problems(count: int, n: int, d: int, classes: int, *, seed: int = 0, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = scale * torch.randn(count, n, d, generator=generator, dtype=torch.float64)
    return x, torch.randint(classes, (count, n), generator=generator)


def weights_by_descent(x: Tensor, y: Tensor, *, classes: int, decay: float) -> Tensor:
    """The minimiser ``(C, d)`` as autograd and LBFGS find it."""
    w = torch.zeros(classes, x.shape[1], dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [w], max_iter=2000, tolerance_grad=1e-11, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        solver.zero_grad()
        value = cross_entropy(x @ w.T, y, reduction="sum") + decay / 2 * w.square().sum()
        value.backward()
        return value

    solver.step(closure)
    return w.detach()


@pytest.mark.parametrize("classes", [1, 2, 3, 7])
@pytest.mark.parametrize("decay", [0.01, 0.1, 10.0])
@pytest.mark.parametrize(("n", "d"), [(20, 4), (6, 30)])
def test_weights_are_those_that_descent_finds(classes: int, decay: float, n: int, d: int) -> None:
    x, y = problems(2, n, d, classes)
    a = fit_dual_softmax(x @ x.mT, y, num_classes=classes, decay=decay)
    for index in range(2):
        expected = weights_by_descent(x[index], y[index], classes=classes, decay=decay)
        np.testing.assert_allclose((a[index].T @ x[index]).numpy(), expected.numpy(), atol=1e-5)


@pytest.mark.parametrize("classes", [2, 3, 5])
@pytest.mark.parametrize(("n", "d"), [(3, 1), (7, 2), (12, 1)])
def test_inner_products_that_are_large_beside_the_decay_are_no_hindrance(classes: int, n: int, d: int) -> None:
    x, y = problems(6, n, d, classes, scale=10.0)
    a = fit_dual_softmax(x @ x.mT, y, num_classes=classes, decay=1e-3, tolerance=1e-9)
    probability = (x @ (a.mT @ x).mT).softmax(-1)
    violation = 1e-3 * a - one_hot(y, classes) + probability
    assert float(violation.abs().max()) < 1e-8


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 12),
    d=st.integers(1, 8),
    classes=st.integers(1, 5),
    decay=st.floats(1e-3, 1e3),
    scale=st.floats(0, 10),
    seed=st.integers(0, 1000),
)
def test_the_gradient_is_zero(n: int, d: int, classes: int, decay: float, scale: float, seed: int) -> None:
    x, y = problems(3, n, d, classes, seed=seed, scale=scale)
    w = (fit_dual_softmax(x @ x.mT, y, num_classes=classes, decay=decay).mT @ x).requires_grad_()
    logits = x @ w.mT
    value = cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="sum") + decay / 2 * w.square().sum()
    (gradient,) = torch.autograd.grad(value, w)
    # Every row may violate its condition by 1e-8.
    assert float(gradient.abs().max()) <= 1e-8 * n * max(1.0, float(x.abs().max())) + 1e-12


def test_the_condition_is_met_to_the_tolerance() -> None:
    x, y = problems(5, 20, 3, 4)
    gram = x @ x.mT
    for tolerance in (1e-2, 1e-6, 1e-10):
        a = fit_dual_softmax(gram, y, num_classes=4, decay=0.1, tolerance=tolerance)
        intended = torch.nn.functional.one_hot(y, 4)
        assert float((0.1 * a - intended + (gram @ a).softmax(-1)).abs().max()) <= 1.0001 * tolerance


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_steps_for_two_classes_are_those_for_any_number(scale: float) -> None:
    x, y = problems(5, 20, 6, 2, scale=scale)
    kernel = x @ x.mT / 0.1
    onehot = torch.nn.functional.one_hot(y, 2).double()
    logits = torch.randn(5, 20, 2, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    state = kernel, logits, logits.softmax(-1), onehot
    torch.testing.assert_close(dual_softmax._newton_for_two(*state), dual_softmax._newton(*state))


def test_problems_side_by_side_are_solved_as_alone() -> None:
    x, y = problems(6, 15, 4, 3)
    gram = x @ x.mT
    together = fit_dual_softmax(gram.view(2, 3, 15, 15), y.view(2, 3, 15), num_classes=3, decay=0.1).view(6, 15, 3)
    for index in range(6):
        alone = fit_dual_softmax(gram[index], y[index], num_classes=3, decay=0.1)
        np.testing.assert_allclose(together[index].numpy(), alone.numpy(), atol=1e-6)


def test_where_it_starts_does_not_matter() -> None:
    x, y = problems(4, 15, 4, 3)
    gram = x @ x.mT
    cold = fit_dual_softmax(gram, y, num_classes=3, decay=0.1)
    start = 20 * torch.randn(cold.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    warm = fit_dual_softmax(gram, y, num_classes=3, decay=0.1, start=start)
    np.testing.assert_allclose(warm.numpy(), cold.numpy(), atol=1e-6)


def test_a_solution_is_no_work(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = problems(4, 15, 4, 3)
    a = fit_dual_softmax(x @ x.mT, y, num_classes=3, decay=0.1)
    monkeypatch.setattr(dual_softmax, "_MOST_STEPS", 1)
    again = fit_dual_softmax(x @ x.mT, y, num_classes=3, decay=0.1, start=a, tolerance=1e-7)
    np.testing.assert_allclose(again.numpy(), a.numpy(), atol=1e-12)


def test_coefficients_of_a_row_sum_to_zero_over_the_classes() -> None:
    x, y = problems(3, 15, 4, 5)
    a = fit_dual_softmax(x @ x.mT, y, num_classes=5, decay=0.1)
    assert float(a.sum(-1).abs().max()) < 1e-6


def test_duplicates_are_two_rows() -> None:
    x, y = problems(1, 8, 3, 2)
    twice = torch.cat([x, x[:, :1]], dim=1), torch.cat([y, y[:, :1]], dim=1)
    a = fit_dual_softmax(twice[0] @ twice[0].mT, twice[1], num_classes=2, decay=0.1)
    expected = weights_by_descent(twice[0][0], twice[1][0], classes=2, decay=0.1)
    np.testing.assert_allclose((a[0].T @ twice[0][0]).numpy(), expected.numpy(), atol=1e-5)


def test_rows_of_zeros_say_nothing() -> None:
    a = fit_dual_softmax(torch.zeros(3, 3, dtype=torch.float64), torch.tensor([0, 1, 1]), num_classes=2, decay=0.5)
    assert a.tolist() == [pytest.approx([1, -1]), pytest.approx([-1, 1]), pytest.approx([-1, 1])]


@pytest.mark.parametrize("decay", [0.0, -1.0, math.inf, math.nan])
def test_a_decay_out_of_range_is_refused(decay: float) -> None:
    with pytest.raises(ValueError, match="decay="):
        fit_dual_softmax(torch.eye(2).double(), torch.tensor([0, 1]), num_classes=2, decay=decay)


def test_no_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="num_classes=0"):
        fit_dual_softmax(torch.eye(2).double(), torch.tensor([0, 1]), num_classes=0, decay=0.1)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_rows_that_are_not_finite_are_refused(value: float) -> None:
    gram = torch.eye(2).double()
    gram[0, 0] = value
    with pytest.raises(ValueError, match="expected finite inner products"):
        fit_dual_softmax(gram, torch.tensor([0, 1]), num_classes=2, decay=0.1)
