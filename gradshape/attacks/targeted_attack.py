"""The base of the attacks on single test rows, which craft for many of them at once."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._returned import check_arrays
from gradshape.attacks.base import Attack
from gradshape.attacks.poison_set import Aims, PoisonSet
from gradshape.data import Dataset, Split
from gradshape.training import Recipe, TrainedModel


@dataclass(frozen=True)
class TargetedAttack(Attack):
    """Base of attacks that make poison for single test rows (targets), so that each is taken for its intended class.

    ``craft`` gets all targets at once (``victim.target``, ``victim.intended``), the networks to craft on
    (``victim.networks``) and test rows to start from (``victim.candidates``). It returns at most ``poisons`` rows for
    each target, sorted by target and, within one, in the order in which it would use them, with :class:`Aims` that say
    so. Fewer rows, or none, are right where the intended class has no more candidates or where none comes close enough.

    Args:
        poisons: at most so many rows for each target; the budget, which is counted by target.

    Attributes:
        substitutes: recipes of the networks that the attacker trains to craft on, on the victim's clean training rows
            with seeds of its own. Empty if it crafts on the victim's own base model, which its threat model then has to
            grant.
        joint: whether the rows for a target work only together, so that no part of them is an attack of its own.

    Raises:
        ValueError: ``poisons`` is not positive. When called: no target, targets of another shape than rows or with
            values outside [0, 1], intended classes that do not fit the targets, a target that is of the intended class
            already, an intended class without test rows to start from, or another number of networks than substitutes.
    """

    poisons: int
    # An attack that has substitutes makes this an argument of its own.
    substitutes: tuple[Recipe, ...] = field(default=(), init=False, repr=False)

    joint: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _validate.positive_int(poisons=self.poisons)

    @final
    def budget(self, train_rows: int) -> int:
        return self.poisons

    def _check_call(
        self, dataset: Dataset, target: Split | None, intended: Tensor | None, networks: Sequence[TrainedModel]
    ) -> None:
        if target is None or not len(target):
            raise ValueError(f"{self.label}: no target was given: pass target=... with at least 1 row")
        if tuple(target.x.shape) != (len(target.y), *dataset.input_shape):
            raise ValueError(
                f"{self.label}: target has x {tuple(target.x.shape)} and y {tuple(target.y.shape)}: expected "
                f"(n, {', '.join(map(str, dataset.input_shape))}) and (n,)"
            )
        outside = ~((target.x >= 0) & (target.x <= 1))
        if bool(outside.any()):
            place, value = int(outside.nonzero()[0, 0]), float(target.x[outside][0])
            raise ValueError(f"{self.label}: target {place} holds the value {value:g}: expected numbers in [0, 1]")
        if intended is None or intended.dtype != torch.int64 or tuple(intended.shape) != (len(target),):
            given = None if intended is None else (intended.dtype, tuple(intended.shape))
            raise ValueError(
                f"{self.label}: intended={given}: expected int64 ({len(target)},), a class for each target"
            )
        if bool((intended == target.y).any()):
            place = int((intended == target.y).nonzero()[0])
            raise ValueError(
                f"{self.label}: target {place} is of class {int(intended[place])}, which is its intended class: "
                "expected another class"
            )
        known = set(dataset.test.y.unique().tolist())
        unknown = [label for label in intended.unique().tolist() if label not in known]
        if unknown:
            raise ValueError(
                f"{self.label}: intended class {unknown[0]}: {dataset.name} has no test row of it to start from"
            )
        if not networks:
            raise ValueError(f"{self.label}: no networks to craft on were given: pass networks=[TrainedModel(...)]")
        if self.substitutes and len(networks) != len(self.substitutes):
            raise ValueError(
                f"{self.label}: {len(networks)} networks were given: expected {len(self.substitutes)}, one for each of "
                "its substitutes"
            )

    def _check_count(self, poison: PoisonSet, count: int) -> None:
        """The budget is that of one target: see :meth:`_check_aims`."""

    def _check_aims(self, poison: PoisonSet, count: int, dataset: Dataset, target: Split | None) -> None:
        aims, targets = poison.aims, 0 if target is None else len(target)
        if aims is None:
            raise ValueError(f"{self.label} crafted rows without aims: expected PoisonSet(..., aims=Aims(...))")
        check_arrays(self.label, aims, Aims)
        for name, dtype in (("target", torch.int64), ("base", torch.int64), ("distance", torch.float32)):
            if getattr(aims, name).dtype != dtype:
                raise ValueError(f"{self.label} crafted {name} of {getattr(aims, name).dtype}, expected {dtype}")
        sizes = {len(poison.x), len(poison.y), len(poison.source), len(aims.target), len(aims.base), len(aims.distance)}
        if len(sizes) != 1:
            raise ValueError(f"{self.label} crafted arrays of {sorted(sizes)} rows: expected one number")
        if len(poison.replaced):
            raise ValueError(
                f"{self.label} crafted rows that replace {len(poison.replaced)}: expected rows that are added, as they "
                "are used one by one"
            )
        # Rows for other places would be used against nobody, and the attack would seem to have failed.
        for name, ids, end in (("target", aims.target, targets), ("base", aims.base, len(dataset.test))):
            if len(ids) and not (ids.min() >= 0 and ids.max() < end):
                raise ValueError(
                    f"{self.label} crafted rows of {name} {int(ids.min())} to {int(ids.max())}: expected [0, {end})"
                )
        most = int(aims.target.bincount().max()) if len(poison) else 0
        if most > count:
            raise ValueError(f"{self.label} crafted {most} rows for one target, budget {count}")
        if not bool((aims.target[1:] >= aims.target[:-1]).all()):
            raise ValueError(f"{self.label} crafted rows out of order: expected them by target")
        if not bool((aims.distance.isfinite() & (aims.distance >= 0)).all()):
            raise ValueError(f"{self.label} crafted rows at distances that are not finite numbers of at least 0")


def poison_by_target(poison_x: Tensor, intended: Tensor, target: Tensor, base: Tensor, distance: Tensor) -> PoisonSet:
    """Return poison rows, which may be in any order, as a set that is sorted by target, nearest first.

    Args:
        poison_x: ``(n, *shape)``.
        intended: ``(n,)`` int64, the classes that the rows are labelled with.
        target, base, distance: as in :class:`Aims`.

    >>> x, distance = torch.tensor([[0.1], [0.2], [0.3]]), torch.tensor([2.0, 3.0, 1.0])
    >>> target, base = torch.tensor([0, 1, 0]), torch.tensor([7, 8, 9])
    >>> poison_by_target(x, torch.tensor([1, 1, 1]), target, base, distance).aims.base.tolist()
    [9, 7, 8]
    """
    by_distance = distance.argsort(stable=True)
    order = by_distance[target[by_distance].argsort(stable=True)]
    aims = Aims(target[order], base[order], distance[order].float())
    return PoisonSet.added(poison_x[order], intended[order], aims=aims)
