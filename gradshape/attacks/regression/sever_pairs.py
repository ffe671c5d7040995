"""Two heaps of rows that cancel what a linear regression learns from all the others."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import ON_REGRESSION, ThreatModel


@dataclass(frozen=True)
class SeverPairs(ProportionalAttack):
    """Cancel the covariance between features and values, so that a linear regression learns a constant.

    Poison stands in two heaps, one at the value 1 and one near the value 0, on the sides of the mean row on which the
    true values are the other way round, and as far apart as it takes to cancel. Rows stay in [0, 1], so a feature whose
    covariance is too large for the number of rows is cancelled only as far as the box allows.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing.
        noise: standard deviation of noise on the rows, >= 0, so that they do not stand in two points. It sums to 0 over
            each heap, before rows are put back into the box.

    Raises:
        ValueError: a number is out of range.

    SEVER's authors attack regressions whose data have mean 0: one heap of rows ``c / s`` with values ``-s``,
    ``c = X^T y / m``, cancels ``X^T y``. Data in a box have means, and models an intercept, which makes covariances of
    the products; and one heap would move the means. Two heaps with balanced values are what comes nearest to that.

    Diakonikolas et al. 2019, SEVER: a robust meta-algorithm for stochastic optimization, the attack on regression in
    its code.

    >>> from gradshape import data
    >>> len(SeverPairs(0.1)(data.load("diabetes"), seed=0))
    30
    """

    noise: float = 0.01

    threat: ClassVar[ThreatModel] = replace(
        ON_REGRESSION,
        source="Diakonikolas et al. 2019, SEVER: a robust meta-algorithm for stochastic optimization, its code",
    )
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _validate.finite_non_negative(noise=self.noise)

    @property
    def label(self) -> str:
        return f"sever_pairs_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        x, y = victim.train.x.flatten(1).double(), victim.train.y.double()
        rows, values = cancelling_rows(x, y, count, noise=self.noise, generator=generator, boxed=True)
        left = _covariance(torch.cat([x, rows]), torch.cat([y, values])).norm()
        notes = {"covariance_left": float(left / _covariance(x, y).norm().clamp_min(torch.finfo(left.dtype).tiny))}
        crafted = rows.float().clamp(0, 1).reshape(count, *victim.input_shape)
        return PoisonSet.added(crafted, values.float().clamp(0, 1), notes=notes)


def cancelling_rows(
    x: Tensor, y: Tensor, count: int, *, noise: float, generator: torch.Generator, boxed: bool
) -> tuple[Tensor, Tensor]:
    """Make rows that cancel the covariance of features and values when they are added.

    Of ``m`` rows, ``k = floor(m mean(y))`` have the value 1 and the others one value near 0, such that the values have
    the mean of the clean ones. Both heaps are then shifted apart by ``delta = sum_i (x_i - mean x)(y_i - mean y) / M``,
    ``M = k (1 - mean y)``, the heap of value 1 downwards where the covariance is positive: their own products sum to
    minus those of the clean rows. The middle between them is the mean row, or in the box the nearest to it that leaves
    room. Without noise (or in exact arithmetic with it), and where ``delta`` is at most 1 or there is no box, every
    ridge, lasso or elastic net is then fitted as ``w = 0``, ``b = mean y``, and an ordinary regression too, if it is
    unique.

    Args:
        x: ``(n, d)`` float64 rows.
        y: ``(n,)`` float64 values in [0, 1].
        count: ``m``. Too few to have both values are put at the mean row with the mean value.
        noise: standard deviation of noise on the rows; it sums to 0 over each heap.
        generator: draws the noise.
        boxed: whether rows have to lie in [0, 1]: ``delta`` is then at most 1 in every feature.

    Returns:
        ``(m, d)`` and ``(m,)`` float64.

    >>> x = torch.tensor([[0.0], [0.5], [1.0]]).double()
    >>> rows, values = cancelling_rows(x, x[:, 0], 4, noise=0.0, generator=torch.Generator(), boxed=True)
    >>> rows.squeeze(1).tolist(), values.tolist()
    ([0.25, 0.25, 0.75, 0.75], [1.0, 1.0, 0.0, 0.0])
    """
    mean_x, mean_y = x.mean(0), float(y.mean())
    high = min(int(count * mean_y + 1e-9), count - 1)
    leverage = high * (1 - mean_y)
    if leverage <= 0:
        return mean_x.repeat(count, 1), x.new_full((count,), mean_y)
    apart = len(y) * _covariance(x, y) / leverage
    middle = mean_x
    if boxed:
        apart = apart.clamp(-1, 1)
        middle = torch.maximum(torch.minimum(mean_x, 1 - apart.abs() / 2), apart.abs() / 2)
    rows = torch.cat([(middle - apart / 2).repeat(high, 1), (middle + apart / 2).repeat(count - high, 1)])
    drawn = noise * torch.randn(rows.shape, dtype=torch.float64, generator=generator).to(x.device)
    drawn[:high] -= drawn[:high].mean(0)
    drawn[high:] -= drawn[high:].mean(0)
    rows = rows + drawn
    values = x.new_full((count,), (count * mean_y - high) / (count - high))
    values[:high] = 1
    return (rows.clamp(0, 1) if boxed else rows), values.clamp(0, 1)


def _covariance(x: Tensor, y: Tensor) -> Tensor:
    return (x - x.mean(0)).T @ (y - y.mean()) / len(y)
