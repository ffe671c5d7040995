"""What the experiments that re-train with poison for single targets share: base models, targets, poison, success."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeVar

import torch
from torch import Tensor

from bench.jobs import Craft, Filter, Job, Train
from bench.protocols.base import Subject
from bench.protocols.start import Retrained, descent
from bench.targets import Chosen, Targets, TooFewTargets, choose
from gradshape import _seeds
from gradshape.attacks import PoisonSet, TargetedAttack
from gradshape.data import Dataset, Split
from gradshape.metrics import relative_accuracy_drop
from gradshape.training import Recipe, Scoring, TrainedModel, TrainingResult

_T = TypeVar("_T")
Part = Generator[Sequence[Job], Sequence[Any], _T]


class Counted(Enum):
    """After which epochs of a re-training a target that is taken for the wanted class counts as won."""

    ANY_EPOCH = "any_epoch"
    LAST_EPOCH = "last_epoch"


@dataclass(frozen=True)
class Success:
    """What one re-training did to its target.

    Attributes:
        raw: whether the target was taken for the wanted class.
        filtered: whether it was, by a model whose accuracy had dropped no more than is allowed.
        epoch: the epoch that counts, from 1: the first in which it was, else the last.
        rad: relative accuracy drop after that epoch against the base model of the same run.
    """

    raw: bool
    filtered: bool
    epoch: int
    rad: float


@dataclass(frozen=True, eq=False)
class Base:
    """A base model of one seed.

    Attributes:
        seed: of the case.
        vanilla: a model trained by the vanilla recipe: what the defended base is compared with.
        result: the base's training.
        model: its best state, with the recipe that it was trained by.
    """

    seed: int
    vanilla: TrainingResult
    result: TrainingResult
    model: TrainedModel

    @property
    def accuracy(self) -> float:
        """Test accuracy of the best state, which is what is trained further."""
        return self.result.best_accuracy


@dataclass(frozen=True, eq=False)
class Aim:
    """A target of one seed, with the poison for it.

    Attributes:
        base: what is trained further.
        row: place of the target in the test split.
        target: that row with its true label.
        wanted: ``(1,)`` int64, the class that it is to be taken for.
        poison: rows in the order in which the attack uses them, at least 1.
        clean: the rows that they were made from, unchanged: test rows of the wanted class, in the same order.
    """

    base: Base
    row: int
    target: Split
    wanted: Tensor
    poison: PoisonSet
    clean: Split


@dataclass(frozen=True, eq=False)
class Aiming:
    """All that an experiment aims at.

    Attributes:
        aims: targets for which there is poison.
        bases: one a seed.
        misclassified: by seed, how many considered rows were no targets, as the base model misclassifies them.
        without_poison: by seed, how many targets there is no poison for within the distance that the attack allows.
        listed: whether the targets are from a stored list.
        crafting: the jobs that made the poison.
    """

    aims: Sequence[Aim]
    bases: Sequence[Base]
    misclassified: Sequence[int]
    without_poison: Sequence[int]
    listed: bool
    crafting: Sequence[Job]


def aiming(case: Subject, dataset: Dataset, device: str, start: Retrained, targets: Targets) -> Part[Aiming]:
    """The part of an experiment that trains base models, chooses targets and makes poison for them.

    The base is the best-accuracy epoch. A row that it misclassifies is no target.

    Raises:
        ValueError: the attack does not aim at single targets, a recipe has no gradients, or the attack cannot be made
            on this data.
        TooFewTargets: the base model of some seed classifies none of the rows correctly.
    """
    attack = case.attack
    if not isinstance(attack, TargetedAttack):
        raise ValueError(f"attack {attack.label!r} does not aim at single targets: expected a TargetedAttack")
    reason = attack.unsuitable(dataset)
    if reason is not None:
        raise ValueError(f"{attack.label} cannot be made on {dataset.name}: {reason}")
    vanilla, defended = (descent(recipe, "re-training with poison") for recipe in (case.vanilla, case.recipe))
    first, _ = start.recipes(vanilla, defended)
    chosen = choose(dataset, targets)
    seeds, n = case.seeds, len(case.seeds)
    training = [
        Train(dataset, device, first, seed, watch=chosen.split, keep_states=True, keep_optimizer=start.remembers)
        for seed in seeds
    ]
    plain = [Train(dataset, device, vanilla, seed) for seed in seeds]
    theirs = attack.substitutes
    substitutes = [Train(dataset, device, recipe, seed, keep_states=True) for seed in seeds for recipe in theirs]
    done = yield [*training, *plain, *substitutes]
    bases = [
        Base(seed, undefended, result, _best(first, result))
        for seed, result, undefended in zip(seeds, done[:n], done[n : 2 * n], strict=True)
    ]
    of_attacker = done[2 * n :]
    networks = []
    for number, base in enumerate(bases):
        own = of_attacker[number * len(theirs) : (number + 1) * len(theirs)]
        of_own = tuple(_best(recipe, result) for recipe, result in zip(theirs, own, strict=True))
        networks.append(of_own or (base.model,))
    correct = [_classified(base, chosen, targets.count, dataset) for base in bases]
    crafting = [
        Craft.against(
            dataset, device, attack, first, base.seed, target=right.split, wanted=right.wanted, networks=of_base
        )
        for base, right, of_base in zip(bases, (right for right, _ in correct), networks, strict=True)
    ]
    poisons = yield crafting
    aims, without = [], []
    for base, (right, _), poison in zip(bases, correct, poisons, strict=True):
        of_base = [_aim(base, right, place, poison, dataset) for place in range(len(right))]
        aims += [aim for aim in of_base if len(aim.poison)]
        without.append(sum(not len(aim.poison) for aim in of_base))
    return Aiming(aims, bases, [missed for _, missed in correct], without, chosen.listed, crafting)


def _best(recipe: Recipe, result: TrainingResult) -> TrainedModel:
    assert result.best is not None
    return TrainedModel(recipe, result.best)


def _classified(base: Base, chosen: Chosen, count: int, dataset: Dataset) -> tuple[Chosen, int]:
    """The rows that the base classifies correctly, at most ``count``, and how many before them it does not."""
    result = base.result
    assert result.predictions is not None
    right = result.predictions[result.best_epoch - 1] == chosen.y
    places = right.nonzero().squeeze(1)[:count]
    if not len(places):
        raise TooFewTargets(
            f"{dataset.name}: the base model of seed {base.seed} classifies none of {len(chosen)} rows correctly: "
            "expected at least 1 target"
        )
    considered = len(chosen) if len(places) < count else int(places[-1]) + 1
    return chosen[places], considered - len(places)


def _aim(base: Base, right: Chosen, place: int, poison: PoisonSet, dataset: Dataset) -> Aim:
    own = poison.against(place)
    assert own.aims is not None
    clean = Split(dataset.test.x[own.aims.base], dataset.test.y[own.aims.base])
    one = slice(place, place + 1)
    return Aim(base, int(right.rows[place]), Split(right.x[one], right.y[one]), right.wanted[one], own, clean)


@dataclass(frozen=True, eq=False)
class Round:
    """Some re-trainings.

    Attributes:
        successes: one each.
        filters, trainings: the jobs.
        masks: for each, the rows that were kept; ``None`` for all.
    """

    successes: Sequence[Success]
    filters: Sequence[Job]
    trainings: Sequence[Job]
    masks: Sequence[Tensor | None]


@dataclass(frozen=True, eq=False)
class Retraining:
    """How base models are trained further.

    Attributes:
        case, dataset, device: of the experiment.
        start: which recipes.
        counted: after which epochs a target counts as won.
        allowed: largest relative accuracy drop against the run's own base of a success that counts as filtered.
    """

    case: Subject
    dataset: Dataset
    device: str
    start: Retrained
    counted: Counted
    allowed: float

    @property
    def recipe(self) -> Recipe:
        """Of the second training."""
        vanilla, defended = (descent(recipe, "re-training") for recipe in (self.case.vanilla, self.case.recipe))
        return self.start.recipes(vanilla, defended)[1]

    def run(self, aims: Sequence[Aim], rows: Sequence[PoisonSet], names: Sequence[str]) -> Part[Round]:
        """Train further with ``rows[i]`` for the target of ``aims[i]``; filtered first, if the case's defence does.

        Args:
            aims: a target may stand there several times.
            rows: of each run.
            names: of each run among those of its target, which with target and seed name its random numbers.

        Returns:
            What became of it.
        """
        masks: Sequence[Tensor | None] = [None] * len(aims)
        filters: list[Filter] = []
        seeds = [_seeds.derive(a.base.seed, "re-training", a.row, n) for a, n in zip(aims, names, strict=True)]
        if self.case.defense.filters:
            filters = [
                Filter.by(
                    self.dataset,
                    self.device,
                    self.case.defense,
                    self.recipe,
                    poison,
                    seed,
                    targets=aim.target,
                    model=aim.base.model,
                )
                for aim, poison, seed in zip(aims, rows, seeds, strict=True)
            ]
            masks = yield filters
        runs = zip(aims, rows, masks, seeds, strict=True)
        jobs = [self._job(aim, poison, keep, seed) for aim, poison, keep, seed in runs]
        results = yield jobs
        successes = [self._success(aim, result) for aim, result in zip(aims, results, strict=True)]
        return Round(successes, filters, jobs, masks)

    def _job(self, aim: Aim, poison: PoisonSet, keep: Tensor | None, seed: int) -> Train:
        base = aim.base.result
        return Train(
            self.dataset,
            self.device,
            self.recipe,
            seed,
            poison,
            keep,
            aim.target,
            initial=base.best,
            wanted=aim.wanted if self.counted is Counted.ANY_EPOCH else None,
            # All of a seed see the clean rows in one order, so that they share their products.
            order_seed=_seeds.derive(aim.base.seed, "re-training order"),
            initial_optimizer=base.best_optimizer if self.start.remembers else None,
            scoring=Scoring.AT_END,
        )

    def _success(self, aim: Aim, result: TrainingResult) -> Success:
        assert result.predictions is not None
        taken = bool((result.predictions[-1] == aim.wanted).all())
        rad = relative_accuracy_drop(aim.base.accuracy, result.last_accuracy)
        return Success(taken, taken and rad <= self.allowed, len(result.predictions), rad)


def rows_of(aim: Aim, places: Sequence[int], *, clean: bool) -> PoisonSet:
    """The poison rows at these places, or the clean ones in their place."""
    index = torch.tensor(list(places))
    if not clean:
        return aim.poison.select(index)
    return PoisonSet.added(aim.clean.x[index], aim.clean.y[index])
