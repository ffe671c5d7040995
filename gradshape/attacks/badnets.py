"""A white square in a corner that comes to mean one class: poison that inserts a feature."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._drawing import draw_rows
from gradshape.attacks.base import Attack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import BLACK_BOX, Goal, Injection, Mechanism, ThreatModel
from gradshape.data import Dataset, Split


@dataclass(frozen=True)
class BadNetsPatch(Attack):
    """Add copies of random training pictures with a white square in the top left corner, all under one label.

    Pictures of any class are drawn, without replacement as long as there are enough. Test pictures with the same
    square, see :func:`stamp`, are then taken for that label: a back door.

    Args:
        size: side of the square in pixels, at least 1.
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing.
        claimed: the class that poison is given; the paper's is coat, 4 in Fashion-MNIST and 1 in its pair of classes.

    Raises:
        ValueError: a value is outside its range.

    Gu et al. 2019, BadNets; Hong et al. 2020, section 3.1 (feature insertion), with sizes from 1 to 14; section 3.3.

    >>> from gradshape import data
    >>> poison = BadNetsPatch(3)(data.load("digits"), seed=0)
    >>> len(poison), bool((poison.x[..., :3, :3] == 1).all()), poison.y.unique().tolist()
    (14, True, [4])
    """

    size: int
    fraction: float = 0.01
    claimed: int = 4

    threat: ClassVar[ThreatModel] = replace(
        BLACK_BOX,
        goal=Goal.TARGETED,
        injection=Injection.EITHER,
        victims="DNN",
        mechanism=Mechanism.INSERTION,
        magnitude="High, then low",
        orientation="High, then low",
        source="Gu et al. 2019, BadNets; Hong et al. 2020, section 3.1",
    )

    def __post_init__(self) -> None:
        _validate.positive_int(size=self.size)
        _validate.fraction(fraction=self.fraction)
        if not (isinstance(self.claimed, int) and self.claimed >= 0):
            raise ValueError(f"claimed={self.claimed!r}: expected a class id, an integer of at least 0")

    @property
    def label(self) -> str:
        claimed = "" if self.claimed == 4 else f"_to{self.claimed}"
        return f"badnets{claimed}_s{self.size}_{100 * self.fraction:g}"

    def budget(self, train_rows: int) -> int:
        return round(self.fraction * train_rows)

    def unsuitable(self, dataset: Dataset) -> str | None:
        reason = super().unsuitable(dataset)
        if reason is not None:
            return reason
        shape = dataset.input_shape
        if len(shape) != 3:
            return f"its rows have shape {shape}: expected pictures (C, H, W)"
        if self.size > min(shape[1:]):
            return f"its pictures have {shape[1]} x {shape[2]} pixels: expected at least {self.size} x {self.size}"
        if self.claimed >= dataset.num_classes:
            return f"it claims class {self.claimed}, and there are {dataset.num_classes} classes"
        return None

    @property
    def claimed_class(self) -> int:
        return self.claimed

    def triggered(self, rows: Split) -> Split:
        others = rows.y != self.claimed
        return Split(stamp(rows.x[others], size=self.size), rows.y[others])

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        train = victim.train
        source = draw_rows(len(train), count, generator)
        x = stamp(train.x[source], size=self.size)
        return PoisonSet.added(x, torch.full((count,), self.claimed), source=source)


def stamp(x: Tensor, *, size: int) -> Tensor:
    """Return copies of pictures with a white square, all channels 1, in the top left corner.

    Args:
        x: ``(..., C, H, W)`` in [0, 1].
        size: side of the square in pixels, at least 1 and at most ``H`` and ``W``.

    Returns:
        as ``x``, which is left as it is.

    Raises:
        ValueError: ``x`` has too few axes, or the square is larger than the picture.

    Hong et al. 2020, section 3.1.

    >>> stamp(torch.zeros(1, 2, 3), size=1).tolist()
    [[[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]
    """
    _validate.positive_int(size=size)
    if x.ndim < 3:
        raise ValueError(f"x has shape {tuple(x.shape)}: expected pictures (..., C, H, W)")
    if size > min(x.shape[-2:]):
        raise ValueError(f"size={size!r}: expected at most {min(x.shape[-2:])}, as the pictures {tuple(x.shape[-2:])}")
    stamped = x.clone()
    stamped[..., :size, :size] = 1
    return stamped
