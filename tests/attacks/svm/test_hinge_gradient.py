"""The gradient of a support vector machine's loss with respect to a training row."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import pytest
import torch
from torch import Tensor

from gradshape import data
from gradshape.attacks.svm._hinge_gradient import decision_losses, hinge_gradient
from gradshape.attacks.svm._svm_solver import SvmFit, fit_svm
from gradshape.attacks.svm.kernels import Kernel, LinearKernel, RBFKernel


@dataclass(frozen=True, eq=False)
class Poisoned:
    """A machine whose last training row is poison."""

    x: Tensor
    signs: Tensor
    others: Tensor
    other_signs: Tensor
    kernel: Kernel
    c: float = 1.0

    @cached_property
    def fit(self) -> SvmFit:
        bounds = torch.full_like(self.signs, self.c)
        return fit_svm(self.kernel(self.x, self.x), self.signs, bounds=bounds)

    @property
    def losses(self) -> Tensor:
        return decision_losses(self.fit.decide(self.kernel(self.others, self.x)), self.other_signs)

    @property
    def gradient(self) -> Tensor:
        gram, cross = self.kernel(self.x, self.x), self.kernel(self.others, self.x)
        return hinge_gradient(
            self.fit,
            self.x,
            len(self.x) - 1,
            kernel=self.kernel,
            gram=gram,
            cross=cross,
            others=self.others,
            signs=self.other_signs,
        )

    def moved(self, by: Tensor) -> "Poisoned":
        x = self.x.clone()
        x[-1] += by
        return Poisoned(x, self.signs, self.others, self.other_signs, self.kernel, self.c)

    def deviation(self, width: float) -> tuple[float, bool]:
        """How far the gradient is from a central difference along it, relatively, and whether all sets stayed."""
        gradient = self.gradient
        along = width * gradient / gradient.norm()
        ends = [self.moved(along), self.moved(-along)]
        difference = (ends[0].losses.sum() - ends[1].losses.sum()) / (2 * width)
        stays = all(
            torch.equal(end.fit.free, self.fit.free) and torch.equal(end.losses > 0, self.losses > 0) for end in ends
        )
        return abs(float(difference / gradient.norm()) - 1), stays


def sevens(seed: int, kernel: Kernel) -> Poisoned:
    """60 digits, 7 against 1, and a 1 that is labelled 7 and altered."""
    generator = torch.Generator().manual_seed(seed)
    digits = data.load("digits").train
    rows = ((digits.y == 1) | (digits.y == 7)).nonzero()[:, 0]
    rows = rows[torch.randperm(len(rows), generator=generator)]
    x, signs = digits.x[rows].flatten(1).double(), torch.where(digits.y[rows] == 7, 1.0, -1.0).double()
    poison = x[:60][signs[:60] < 0][0] + 0.1 * torch.rand(64, generator=generator)
    one = torch.ones(1).double()
    return Poisoned(torch.cat([x[:60], poison[None]]), torch.cat([signs[:60], one]), x[60:], signs[60:], kernel)


def toy(seed: int, kernel: Kernel, c: float = 1.0) -> Poisoned:
    """The paper's: two Gaussians of 25 rows each in the plane, and a row of the left one that is labelled right."""
    generator = torch.Generator().manual_seed(seed)

    def gaussians(each: int) -> tuple[Tensor, Tensor]:
        signs = torch.tensor([-1.0, 1.0]).double().repeat_interleave(each)
        noise = 0.6**0.5 * torch.randn(2 * each, 2, generator=generator).double()
        return noise + torch.stack([1.5 * signs, 0 * signs], dim=1), signs

    (x, signs), (others, other_signs) = gaussians(25), gaussians(500)
    return Poisoned(torch.cat([x, x[:1]]), torch.cat([signs, -signs[:1]]), others, other_signs, kernel, c)


MACHINES: dict[str, Callable[[int], Poisoned]] = {
    "digits-linear": lambda seed: sevens(seed, LinearKernel()),
    "digits-rbf": lambda seed: sevens(seed, RBFKernel(0.1)),
    "toy-rbf": lambda seed: toy(seed, RBFKernel(0.5)),
    "toy-linear": lambda seed: toy(seed, LinearKernel(), c=0.1),
    "toy-linear-on-the-margin": lambda seed: toy(seed, LinearKernel(), c=100.0).moved(torch.tensor([1.0, 3.0])),
}


@pytest.mark.parametrize("make", MACHINES.values(), ids=MACHINES)
def test_the_gradient_is_a_central_difference_along_it(make: Callable[[int], Poisoned]) -> None:
    machines = [machine for machine in map(make, range(24)) if float(machine.gradient.norm()) > 1e-7]
    assert len(machines) >= 3
    found = [machine.deviation(1e-4) for machine in machines]
    assert float(torch.tensor([deviation for deviation, _ in found]).median()) < 1e-2
    unchanged = [deviation for deviation, stays in found if stays]
    assert unchanged
    assert max(unchanged) < 1e-6


def test_some_of_these_points_lie_on_the_margin_and_most_beyond_it() -> None:
    make = MACHINES["toy-linear-on-the-margin"]
    assert sum(bool(make(seed).fit.free[-1]) for seed in range(16)) >= 3
    assert not any(bool(MACHINES["digits-linear"](seed).fit.free[-1]) for seed in range(16))


def test_a_pinned_machine_has_no_gradient() -> None:
    machines = [toy(seed, LinearKernel()) for seed in range(16)]
    pinned = [m for m in machines if int(m.fit.free.sum()) == 3 and not m.fit.free[-1]]
    assert len(pinned) >= 3
    assert all(float(machine.gradient.norm()) < 1e-7 for machine in pinned)
    assert all(torch.allclose(m.moved(torch.full((2,), 1e-4)).losses, m.losses, atol=1e-7) for m in pinned)


def test_a_point_that_the_machine_ignores_has_no_gradient() -> None:
    apart = toy(0, LinearKernel()).moved(torch.tensor([9.0, 0.0]))
    assert float(apart.fit.alpha[-1]) == 0
    assert not apart.gradient.any()
