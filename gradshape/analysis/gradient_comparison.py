"""How the gradients of poison differ from those of clean rows: their magnitudes and the angle between them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.training import SUBSETS, Layers, SubsetGradients, Weighting


class Division(Enum):
    """Which two parts of the training rows have their gradients compared.

    Attributes:
        POISON: the poison and the clean rows.
        PLACEBO: as many clean rows as there is poison, drawn at random, and all other rows. It shows what the same
            statistic says of rows that are nothing special.
    """

    POISON = ("poison", "clean")
    PLACEBO = ("placebo", "rest")


@dataclass(frozen=True)
class Differences:
    """How two gradients differed, epoch by epoch.

    ``None`` stands for an epoch without rows of one of the parts, or in which a gradient was 0 or not finite.

    Attributes:
        ratio: the ratio of their Euclidean norms, at least 0.
        cosine: the cosine of the angle between them, in [-1, 1].
    """

    ratio: tuple[float | None, ...]
    cosine: tuple[float | None, ...]


def magnitude_ratio(poison: Tensor, clean: Tensor) -> float | None:
    """Return ``|g_p| / |g_c|``: how many times as long one gradient is as another.

    Args:
        poison, clean: gradients of one shape, of any dtype.

    Returns:
        At least 0; ``None`` if the clean gradient is 0 or a norm is not finite.

    Hong et al. 2020, section 3.1.

    >>> magnitude_ratio(torch.tensor([6.0, 8.0]), torch.tensor([3.0, 4.0]))
    2.0
    """
    return _differences(_products(poison, clean))[0]


def cosine_similarity(poison: Tensor, clean: Tensor) -> float | None:
    """Return the cosine of the angle between two gradients.

    Args:
        poison, clean: gradients of one shape, of any dtype.

    Returns:
        In [-1, 1]: 1 is the same direction, -1 the opposite one; ``None`` if one is 0 or not finite.

    Hong et al. 2020, section 3.1.

    >>> cosine_similarity(torch.tensor([-6.0, -8.0]), torch.tensor([3.0, 4.0]))
    -1.0
    """
    return _differences(_products(poison, clean))[1]


def gradient_differences(
    measured: SubsetGradients,
    division: Division = Division.POISON,
    *,
    shaped: bool = False,
    weighting: Weighting = Weighting.BATCH,
    layers: Layers = Layers.LAST,
    bias: bool = False,
) -> Differences:
    """Return the magnitude ratio and the cosine of every epoch of a training.

    The defaults are the statistic of the paper's Fig. 1 as its code computes it: the gradient of the last dense layer's
    kernel, without its bias and the layers before it, as the mean over batches of means over rows. Rows are told apart
    by what they are and not by their pixels, and every gradient is that of its own rows alone. The released analysis of
    clipped training sums the whole batch for either subset, so that its ratios (2.221 and 3.645 in Fig. 4 c and f) and
    its positive cosines say nothing of the poison.

    Near a stationary point of the training loss the ratio only tells how many rows there are, see
    :func:`stationary_ratio`, so compare it with the placebo's.

    Args:
        measured: the gradients that a probe measured.
        division: the parts that are compared.
        shaped: whether to compare gradients as they enter the update, before noise, instead of the raw ones.
        weighting: how the gradients of an epoch are averaged.
        layers: the layers whose parameters count.
        bias: whether parameters called ``bias`` count.

    Raises:
        ValueError: all layers are asked for but the probe measured the last one only, or no parameter is left.

    Hong et al. 2020, section 3.
    """
    if layers is Layers.ALL and measured.layers is Layers.LAST:
        raise ValueError("layers=Layers.ALL: the probe looked at the last layer only: use GradientProbe(Layers.ALL)")
    chosen = _parameters(measured.parameters, layers, bias=bias)
    products = (measured.shaped if shaped else measured.raw)[:, list(Weighting).index(weighting), chosen].sum(1)
    one, other = (SUBSETS.index(subset) for subset in division.value)
    subsets = torch.tensor([one, other])
    epochs = [_differences(epoch) for epoch in products[:, subsets][:, :, subsets]]
    return Differences(tuple(ratio for ratio, _ in epochs), tuple(cosine for _, cosine in epochs))


def stationary_ratio(clean_rows: int, poison_rows: int) -> float:
    """Return ``n_c / n_p``, the magnitude ratio of *any* two parts of the rows if the mean gradient of all rows is 0.

    ``n_c g_c + n_p g_p = n g`` holds for the mean gradients of any two parts and of all rows. At a stationary point
    ``g = 0``, so ``g_p = -(n_c / n_p) g_c``: the ratio says how many rows there are, and the cosine is -1. The paper's
    linear models are close to a stationary point in every epoch, and its ratios are this number: 2.497 where
    10,800 / 4,320 = 2.5. With clipping, the same holds for the clipped gradients.

    Args:
        clean_rows, poison_rows: numbers of rows, at least 1.

    Raises:
        ValueError: a count is less than 1.

    >>> stationary_ratio(10_800, 4_320)
    2.5
    """
    _validate.positive_int(clean_rows=clean_rows, poison_rows=poison_rows)
    return clean_rows / poison_rows


def mean_over_epochs(values: Iterable[float | None]) -> float | None:
    """Return the mean of the values that are known; ``None`` if none is.

    >>> mean_over_epochs([1.0, None, 2.0])
    1.5
    """
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if known else None


def spread_over_epochs(values: Sequence[float | None]) -> float | None:
    """Return the population standard deviation of the values that are known; ``None`` if none is.

    Of the cosines it is the paper's measure of their steadiness (Fig. 7).

    >>> spread_over_epochs([1.0, None, 3.0])
    1.0
    """
    mean = mean_over_epochs(values)
    if mean is None:
        return None
    variance = mean_over_epochs(None if value is None else (value - mean) ** 2 for value in values)
    return None if variance is None else math.sqrt(variance)


def _parameters(names: Sequence[str], layers: Layers, *, bias: bool) -> list[int]:
    owners = [name.rpartition(".")[0] for name in names]
    chosen = [
        place
        for place, (name, owner) in enumerate(zip(names, owners, strict=True))
        if (layers is Layers.ALL or owner == owners[-1]) and (bias or not name.endswith("bias"))
    ]
    if not chosen:
        raise ValueError(f"bias=False: no parameter is left of {list(names)}: use bias=True")
    return chosen


def _products(poison: Tensor, clean: Tensor) -> Tensor:
    if poison.shape != clean.shape:
        raise ValueError(f"gradients have shapes {tuple(poison.shape)} and {tuple(clean.shape)}: expected the same")
    both = torch.stack([poison, clean]).flatten(1).double()
    return both @ both.T


def _differences(products: Tensor) -> tuple[float | None, float | None]:
    """Compute ratio and cosine from ``(2, 2)`` inner products."""
    (one, common), (_, other) = products.tolist()
    if not (math.isfinite(one) and math.isfinite(other) and other > 0):
        return None, None
    ratio = math.sqrt(one) / math.sqrt(other)
    if one <= 0:
        return ratio, None
    return ratio, max(-1.0, min(1.0, common / math.sqrt(one) / math.sqrt(other)))
