"""What the attacks of Koh, Steinhardt and Liang share: few distinct rows, repeated, judged on the training rows."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import PoisonSet
from gradshape.attacks.koh._regularised_hinge import Added, DecayedHinge, signed
from gradshape.attacks.koh._rounding import round_inside
from gradshape.attacks.threat import WHITE_BOX
from gradshape.constraints import FLOAT32_MARGIN, FeasibleSets
from gradshape.data import Split

THREAT = replace(
    WHITE_BOX,
    multiclass=False,
    victims="SVM",
    source="Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses",
)


@dataclass(frozen=True, eq=False)
class Surrogate:
    """What the attacker trains and where he may put rows.

    Attributes:
        learner: on the clean rows.
        sets: sphere, slab and box of each class.
        y: ``(n,)`` int64 classes of the clean rows.
    """

    learner: DecayedHinge
    sets: FeasibleSets
    y: Tensor

    @classmethod
    def of(cls, train: Split, *, quantile: float, decay: float, temperature: float) -> "Surrogate":
        """On clean rows ``train`` of any shape, with sets at ``quantile``."""
        x = train.x.flatten(1).double()
        sets = FeasibleSets.from_rows(x, train.y, quantile=quantile, boxed=True)
        return cls(DecayedHinge(signed(x, train.y), decay=decay, temperature=temperature), sets, train.y)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def classes(self) -> Tensor:
        """``(2,)`` int64: of a row of either class."""
        return torch.arange(2, device=self.y.device)

    def added(self, x: Tensor, y: Tensor, copies: Tensor) -> Added:
        """``copies`` ``(m,)`` of each row ``x`` ``(m, d)`` of class ``y`` ``(m,)``, less rows without a copy."""
        used = copies > 0
        return Added(signed(x[used], y[used]), copies[used].double() / len(self))

    def harm(self, x: Tensor, y: Tensor, copies: Tensor, *, start: Tensor) -> tuple[float, float]:
        """Error and mean loss on the clean rows of the learner that is trained with these rows, from ``start``.

        Args:
            x: ``(m, d)``.
            y: ``(m,)`` int64.
            copies: ``(m,)`` int64.
            start: ``(d + 1,)`` parameters.
        """
        theta = self.learner.fit(self.added(x, y, copies), start=start)
        return self.learner.error(theta), self.learner.mean_loss(theta)

    def whole(
        self, x: Tensor, y: Tensor, copies: Tensor, *, shape: tuple[int, ...], levels: int, generator: torch.Generator
    ) -> PoisonSet:
        """As :meth:`poison`, with every copy rounded at random to whole multiples of ``1 / levels`` inside its set."""
        drawn = [
            round_inside(row, int(number), inside=self.sets.of(int(label)), levels=levels, generator=generator)
            for row, label, number in zip(x, y, copies, strict=True)
            if number > 0
        ]
        rows, labels = torch.cat(drawn), y.repeat_interleave(copies)
        error, _ = self.harm(rows, labels, torch.ones_like(labels), start=self.learner.fit())
        share = float(self.sets.contains(rows, labels).double().mean())
        notes = {"surrogate_error": error, "share_feasible": share}
        return PoisonSet.added(rows.float().unflatten(1, shape), labels, notes=notes)

    def poison(self, x: Tensor, y: Tensor, copies: Tensor, *, shape: tuple[int, ...], error: float) -> PoisonSet:
        """``copies`` of each row as poison, rounded inside the sets.

        Args:
            x: ``(m, d)`` rows of the sets.
            y: ``(m,)`` int64.
            copies: ``(m,)`` int64.
            shape: of a row.
            error: on the clean rows, of what the attacker trains with them, noted as ``surrogate_error``.
        """
        rows = self.sets.shrink(x, y, share=FLOAT32_MARGIN).float().clamp(0, 1)
        inside = self.sets.contains(rows, y)
        share = float(copies[inside].sum()) / int(copies.sum())
        notes = {"surrogate_error": error, "share_feasible": share}
        drawn = rows.repeat_interleave(copies, dim=0).unflatten(1, shape)
        return PoisonSet.added(drawn, y.repeat_interleave(copies), notes=notes)


def check(*, fraction: float, quantile: float, decay: float, temperature: float, levels: int | None) -> None:
    """Raise ``ValueError`` if a parameter that all these attacks have is out of range."""
    if levels is not None:
        _validate.positive_int(levels=levels)
    _validate.finite_non_negative(fraction=fraction)
    _validate.positive(decay=decay, temperature=temperature)
    _validate.positive_fraction(quantile=quantile)


def check_decoys(*, quantiles: tuple[float, ...], repeats: tuple[int, ...]) -> None:
    """Raise ``ValueError`` unless there are quantiles in [0, 1] and repeats of at least 1."""
    if not quantiles or not repeats:
        raise ValueError(f"quantiles={quantiles!r}, repeats={repeats!r}: expected at least one of each")
    for quantile in quantiles:
        _validate.fraction(quantiles=quantile)
    for repeat in repeats:
        _validate.positive_int(repeats=repeat)


def in_inverse_balance(y: Tensor, count: int) -> Tensor:
    """``(2,)`` int64 copies of a row of class 0 and of one of class 1, ``count`` in all: as many as the *other* class's
    share of ``y``.

    >>> in_inverse_balance(torch.tensor([0, 1, 1, 1]), 8).tolist()
    [6, 2]
    """
    positive = round(count * float((y == 0).double().mean()))
    return y.new_tensor([count - positive, positive])
