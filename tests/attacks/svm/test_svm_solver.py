"""The exact support vector machine."""

import numpy as np
import pytest
import torch
from sklearn.svm import SVC
from torch import Tensor

from gradshape.attacks.svm._svm_solver import SvmFit, fit_svm
from gradshape.attacks.svm.kernels import Kernel, LinearKernel, RBFKernel

each_seed = pytest.mark.parametrize("seed", range(12))
each_kernel = pytest.mark.parametrize("kernel", [LinearKernel(), RBFKernel(0.2)], ids=["linear", "rbf"])


def problem(seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows (of every third seed with ties), overlapping labels, and bounds that differ."""
    generator = torch.Generator().manual_seed(seed)
    rows, width = int(torch.randint(4, 70, (), generator=generator)), int(torch.randint(1, 20, (), generator=generator))
    x = torch.randn(rows, width, generator=generator).double()
    if seed % 3 == 0:
        x = x.round()
    signs = torch.where(x[:, 0] + torch.randn(rows, generator=generator) > 0, 1.0, -1.0).double()
    signs[:2] = torch.tensor([1.0, -1.0])
    return x, signs, 0.1 + 3 * torch.rand(rows, generator=generator).double()


def violation(fit: SvmFit, gram: Tensor, bounds: Tensor) -> float:
    """By how much the worst optimality condition is missed."""
    beyond = fit.signs * fit.decide(gram) - 1
    apart, past = fit.alpha == 0, fit.alpha == bounds
    assert torch.equal(apart | past, ~fit.free)
    wrong = torch.cat([-beyond[apart], beyond[past], beyond[fit.free].abs(), (fit.signs @ fit.alpha).abs()[None]])
    return float(wrong.max())


@each_kernel
@each_seed
def test_the_optimality_conditions_hold(seed: int, kernel: Kernel) -> None:
    x, signs, bounds = problem(seed)
    gram = kernel(x, x)
    assert violation(fit_svm(gram, signs, bounds=bounds), gram, bounds) < 1e-7


@each_kernel
@each_seed
def test_decisions_are_those_of_scikit_learn(seed: int, kernel: Kernel) -> None:
    x, signs, bounds = problem(seed)
    gram = kernel(x, x)
    svc = SVC(kernel="precomputed", C=1.0, tol=1e-7).fit(gram.numpy(), signs.numpy(), sample_weight=bounds.numpy())
    ours = fit_svm(gram, signs, bounds=bounds).decide(gram).numpy()
    np.testing.assert_allclose(ours, svc.decision_function(gram.numpy()), atol=1e-4)


@each_kernel
@each_seed
def test_a_start_leads_to_the_same_machine(seed: int, kernel: Kernel) -> None:
    x, signs, bounds = problem(seed)
    near = kernel(x + 0.05, x + 0.05) + 0.01 * torch.eye(len(x)).double()
    start = fit_svm(near, signs, bounds=bounds).alpha
    gram = kernel(x, x)
    warm, cold = fit_svm(gram, signs, bounds=bounds, start=start), fit_svm(gram, signs, bounds=bounds)
    torch.testing.assert_close(warm.decide(gram), cold.decide(gram), atol=1e-6, rtol=0)


@each_kernel
def test_a_heavy_row_is_many_rows(kernel: Kernel) -> None:
    x, signs, _ = problem(5)
    ones = torch.ones(len(x)).double()
    heavy = ones.clone()
    heavy[3] = 3
    many = torch.cat([x, x[3:4], x[3:4]])
    labels, bounds = torch.cat([signs, signs[3:4], signs[3:4]]), torch.ones(len(many)).double()
    repeated = fit_svm(kernel(many, many), labels, bounds=bounds)
    single = fit_svm(kernel(x, x), signs, bounds=heavy)
    torch.testing.assert_close(single.decide(kernel(x, x)), repeated.decide(kernel(x, many)), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signs": torch.ones(3).double()}, r"signs \[1.0\]: expected both -1 and 1"),
        ({"bounds": torch.tensor([1.0, 0.0, 1.0]).double()}, "least_bound=0.0"),
        ({"bounds": torch.ones(2).double()}, r"bounds of shape \(2,\): expected \(3, 3\) and \(3,\)"),
        ({"gram": torch.full((3, 3), torch.nan).double()}, "gram: expected finite values"),
    ],
    ids=["one-class", "no-weight", "shape", "nan"],
)
def test_what_is_no_machine_is_named(change: dict[str, Tensor], message: str) -> None:
    given = {
        "gram": torch.eye(3).double(),
        "signs": torch.tensor([1.0, -1.0, 1.0]).double(),
        "bounds": torch.ones(3).double(),
    } | change
    with pytest.raises(ValueError, match=message):
        fit_svm(given["gram"], given["signs"], bounds=given["bounds"])


@each_kernel
def test_derivatives_of_kernels_are_those_of_autograd(kernel: Kernel) -> None:
    x, weights, _ = problem(7)
    z = x[0].clone().requires_grad_()
    [of_values] = torch.autograd.grad(weights @ kernel(x, z[None])[:, 0], z)
    torch.testing.assert_close(kernel.weighted_slope(x, z.detach(), weights), of_values)
    [of_own] = torch.autograd.grad(kernel(z[None], z[None]).sum(), z)
    torch.testing.assert_close(kernel.own_slope(z.detach()), of_own)


@pytest.mark.parametrize("gamma", [0, -1.0, float("nan"), float("inf")])
def test_a_gamma_out_of_range_is_named(gamma: float) -> None:
    with pytest.raises(ValueError, match="gamma="):
        RBFKernel(gamma)


def test_the_scaled_gamma_of_constant_rows_is_1() -> None:
    assert RBFKernel().scaled_to(torch.ones(3, 2)) == RBFKernel(1.0)
