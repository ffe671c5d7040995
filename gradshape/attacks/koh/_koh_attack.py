"""The base of the attacks of Koh, Steinhardt and Liang: few distinct rows, repeated, judged on the training rows."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar, final

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.koh._decoys import Decoy, check_grid, find_decoys
from gradshape.attacks.koh._regularised_hinge import AddedRows, RegularisedHinge
from gradshape.attacks.koh._rounding import round_inside
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import ON_SVM, ThreatModel
from gradshape.constraints import FLOAT32_MARGIN, FeasibleSets
from gradshape.data import Split
from gradshape.learners.hinge import signed_rows

Report = Callable[[int, int, float], None]


@dataclass(frozen=True, eq=False)
class ChosenRows:
    """Rows that an attacker adds.

    Attributes:
        x: ``(m, d)`` float64 rows of the sets.
        y: ``(m,)`` int64 classes.
        copies: ``(m,)`` int64 number of copies of each row.
        error: share of the clean rows, in [0, 1], that the attacker's learner gets wrong when it is trained with them.
    """

    x: Tensor
    y: Tensor
    copies: Tensor
    error: float


@dataclass(frozen=True, eq=False)
class Surrogate:
    """The learner that the attacker trains, and the sets that he may put rows into.

    Attributes:
        learner: trained on the clean rows.
        sets: sphere, slab and box of each class.
        y: ``(n,)`` int64 classes of the clean rows.
    """

    learner: RegularisedHinge
    sets: FeasibleSets
    y: Tensor

    @classmethod
    def fitted_to(cls, train: Split, *, quantile: float, decay: float, temperature: float) -> "Surrogate":
        """Return the surrogate for clean rows ``train`` of any shape, with sets at ``quantile``."""
        x = train.x.flatten(1).double()
        sets = FeasibleSets.from_rows(x, train.y, quantile=quantile, boxed=True)
        return cls(RegularisedHinge(signed_rows(x, train.y), decay=decay, temperature=temperature), sets, train.y)

    def __len__(self) -> int:
        return len(self.y)

    @property
    def classes(self) -> Tensor:
        """``(2,)`` int64 the classes of a pair of rows, one of either class."""
        return torch.tensor([0, 1], device=self.y.device)

    def added(self, x: Tensor, y: Tensor, copies: Tensor) -> AddedRows:
        """Return rows ``x (m, d)`` of classes ``y (m,)`` as the learner takes them, less those without copies."""
        used = copies > 0
        return AddedRows(signed_rows(x[used], y[used]), copies[used].double() / len(self))

    def harm(self, x: Tensor, y: Tensor, copies: Tensor, *, start: Tensor) -> tuple[float, float]:
        """Train the learner with added rows, and return its error and its mean loss on the clean rows.

        Args:
            x: ``(m, d)`` added rows.
            y: ``(m,)`` int64 classes.
            copies: ``(m,)`` int64 number of copies of each row.
            start: ``(d + 1,)`` parameters to train from.
        """
        theta = self.learner.fit(self.added(x, y, copies), start=start)
        return self.learner.error(theta), self.learner.mean_loss(theta)

    def poison(self, chosen: ChosenRows, *, shape: tuple[int, ...]) -> PoisonSet:
        """Return the copies of the chosen rows, rounded to float32 inside the sets, each of this ``shape``."""
        rows = self.sets.shrink(chosen.x, chosen.y, share=FLOAT32_MARGIN).float().clamp(0, 1)
        share = float(chosen.copies[self.sets.contains(rows, chosen.y)].sum()) / int(chosen.copies.sum())
        notes = {"surrogate_error": chosen.error, "share_feasible": share}
        drawn = rows.repeat_interleave(chosen.copies, dim=0).unflatten(1, shape)
        return PoisonSet.added(drawn, chosen.y.repeat_interleave(chosen.copies, dim=0), notes=notes)

    def rounded_poison(
        self, chosen: ChosenRows, *, shape: tuple[int, ...], levels: int, generator: torch.Generator
    ) -> PoisonSet:
        """Make poison as :meth:`poison`, with copies rounded at random to multiples of ``1 / levels`` in their sets."""
        drawn = [
            round_inside(row, int(number), inside=self.sets.for_class(int(label)), levels=levels, generator=generator)
            for row, label, number in zip(chosen.x, chosen.y, chosen.copies, strict=True)
            if number > 0
        ]
        rows, labels = torch.cat(drawn), chosen.y.repeat_interleave(chosen.copies, dim=0)
        error, _ = self.harm(rows, labels, torch.ones_like(labels), start=self.learner.fit())
        share = float(self.sets.contains(rows, labels).double().mean())
        notes = {"surrogate_error": error, "share_feasible": share}
        return PoisonSet.added(rows.float().unflatten(1, shape), labels, notes=notes)


@dataclass(frozen=True)
class KohAttack(ProportionalAttack):
    """Base of the attacks that add copies of few rows inside sphere and slab: authors write :meth:`choose`.

    The attacker trains a smoothed SVM with weight decay, whatever the victim is, and may put rows into the sphere, the
    slab and the box of the class that they claim. The control is made of flips into the same sets.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]; 0.03 in the paper.
        quantile: of the radii and half-widths, in (0, 1].
        decay: weight decay of the attacker's learner, above 0; the paper has 0.01 for MNIST-1-7 and IMDB, 0.09 for
            Enron and 1.1 for Dogfish.
        temperature: of its smoothed hinge, above 0.
        levels: ``None`` for rows of any values; else every value is a whole multiple of ``1 / levels``, such as a count
            of words divided by the largest count that is kept: the rows that are found are rounded at random.

    Attributes:
        name: of the attack, in labels.

    Raises:
        ValueError: a value is out of its range.

    Notes the error of the attacker's learner on the clean rows, ``surrogate_error``, and the share of the poison that
    lies in its sets, ``share_feasible``.

    Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses.
    """

    quantile: float = 0.9
    decay: float = 0.01
    _: KW_ONLY
    temperature: float = 1e-3
    levels: int | None = None

    name: ClassVar[str]
    small_problems: ClassVar[bool] = True
    threat: ClassVar[ThreatModel] = replace(
        ON_SVM,
        source="Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses",
    )
    # It knows its own learner, whatever is trained on its rows.
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        if self.levels is not None:
            _validate.positive_int(levels=self.levels)
        _validate.fraction(fraction=self.fraction)
        _validate.positive(decay=self.decay, temperature=self.temperature)
        _validate.positive_fraction(quantile=self.quantile)

    @property
    def label(self) -> str:
        return f"{self.name}_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction, feasible_quantile=self.quantile)

    @abstractmethod
    def choose(self, own: Surrogate, count: int, *, generator: torch.Generator, report: Report) -> ChosenRows:
        """Choose rows of which ``count`` copies are added.

        Args:
            own: the attacker's learner and sets.
            count: copies in all, at least 1.
            generator: of all randomness.
            report: to be called with the steps done, the steps at most and the objective so far.
        """

    @final
    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        own = Surrogate.fitted_to(victim.train, quantile=self.quantile, decay=self.decay, temperature=self.temperature)
        chosen = self.choose(own, count, generator=generator, report=victim.report)
        if self.levels is None:
            return own.poison(chosen, shape=victim.input_shape)
        return own.rounded_poison(chosen, shape=victim.input_shape, levels=self.levels, generator=generator)


@dataclass(frozen=True)
class DecoyAttack(KohAttack):
    """Base of the attacks that lead the learner towards decoys: parameters that are wrong on many rows.

    Args:
        quantiles, repeats: of the decoys: for each quantile, the rows with the smallest margins are flipped and
            repeated so often. The released code has 0.05, 0.07, 0.1, 0.12, 0.15, 0.18, 0.2, 0.22 and 0.25, with 1, 2,
            3, 5, 8, 12, 18 and 25 repeats; for Enron 0.05 to 0.55 in steps of 0.05, and 33 repeats as well.

    The other arguments and the errors are those of :class:`KohAttack`.
    """

    _: KW_ONLY
    quantiles: tuple[float, ...] = (0.05, 0.1, 0.2)
    repeats: tuple[int, ...] = (1, 3)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_grid(quantiles=self.quantiles, repeats=self.repeats)

    def decoys(self, own: Surrogate) -> list[Decoy]:
        """Return the decoys that no other one beats in both training loss and error."""
        return find_decoys(own.learner, quantiles=self.quantiles, repeats=self.repeats)


def in_inverse_balance(y: Tensor, count: int) -> Tensor:
    """Return how often to copy a row of class 0 and one of class 1, ``(2,)`` int64 that add up to ``count``.

    Either has the *other* class's share of ``y``.

    >>> in_inverse_balance(torch.tensor([0, 1, 1, 1]), 8).tolist()
    [6, 2]
    """
    positive = round(count * float((y == 0).double().mean()))
    return y.new_tensor([count - positive, positive])
