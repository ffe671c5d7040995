"""What the experiments that re-train with poison for single targets share: base models, targets, poison, success."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import torch
from torch import Tensor

from gradshape import _seeds
from gradshape.attacks import PoisonSet, TargetedAttack
from gradshape.data import Dataset, Split
from gradshape.metrics import relative_accuracy_drop
from gradshape.training import GradientProbe, Recipe, Scoring, TrainingResult
from gradshape_bench.jobs import AnyJob, Craft, Train
from gradshape_bench.protocols.base import Subject
from gradshape_bench.protocols.bases import Base, Part, base_models, best_of, recipes_of
from gradshape_bench.protocols.filtering import filtering
from gradshape_bench.protocols.start import Retrained
from gradshape_bench.targets import Chosen, Targets, TooFewTargets, candidates


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
class Aim:
    """A target of one seed, with the poison for it.

    Attributes:
        base: what is trained further.
        row: place of the target in the test split.
        listed: whether the target is from a stored list.
        target: that row with its true label.
        wanted: ``(1,)`` int64, the class that it is to be taken for.
        poison: rows in the order in which the attack uses them, at least 1.
    """

    base: Base
    row: int
    listed: bool
    target: Split
    wanted: Tensor
    poison: PoisonSet


@dataclass(frozen=True, eq=False)
class Aiming:
    """All that an experiment aims at.

    Attributes:
        aims: targets for which there is poison.
        bases: one a seed.
        misclassified: by seed, how many considered rows were no targets, as the base model misclassifies them.
        without_poison: by seed, how many targets there is no poison for within the distance that the attack allows.
        crafting: the jobs that made the poison.
    """

    aims: Sequence[Aim]
    bases: Sequence[Base]
    misclassified: Sequence[int]
    without_poison: Sequence[int]
    crafting: Sequence[AnyJob]


def aiming(case: Subject, dataset: Dataset, device: str, start: Retrained, targets: Targets) -> Part[Aiming]:
    """The part of an experiment that trains base models, chooses targets and makes poison for them.

    The base is the best-accuracy epoch. A row that it misclassifies is no target; a seed may have none.

    Raises:
        ValueError: the attack does not aim at single targets, a recipe has no gradients, or the attack cannot be made
            on this data.
        TooFewTargets: the base models of all seeds classify none of the rows correctly.
    """
    attack = case.attack
    if not isinstance(attack, TargetedAttack):
        raise ValueError(f"attack {attack.label!r} does not aim at single targets: expected a TargetedAttack")
    reason = attack.unsuitable(dataset)
    if reason is not None:
        raise ValueError(f"{attack.label} cannot be made on {dataset.name}: {reason}")
    what = "re-training with poison"
    first, _ = recipes_of(case, start, what)
    pool = candidates(dataset, targets)
    chosen = [pool.of_seed(seed, targets.count) for seed in case.seeds]
    theirs = attack.substitutes
    substitutes = [
        Train(dataset, device, recipe, _seeds.derive(seed, "substitute", place), keep_states=True)
        for seed in case.seeds
        for place, recipe in enumerate(theirs)
    ]
    bases, of_attacker = yield from base_models(
        case, dataset, device, start, what=what, watch=[rows.split for rows in chosen], beside=substitutes
    )
    networks = []
    for number, base in enumerate(bases):
        own = of_attacker[number * len(theirs) : (number + 1) * len(theirs)]
        of_own = tuple(best_of(recipe, result) for recipe, result in zip(theirs, own, strict=True))
        networks.append(of_own or (base.model,))
    correct = [_classified(base, rows, targets.count) for base, rows in zip(bases, chosen, strict=True)]
    if not any(len(right) for right, _ in correct):
        raise TooFewTargets(
            f"{dataset.name}: no base model classifies any of {len(chosen[0])} rows correctly: expected at least 1 "
            "target"
        )
    crafting = [
        Craft.against(
            dataset, device, attack, first, base.seed, target=right.split, wanted=right.wanted, networks=of_base
        )
        for base, (right, _), of_base in zip(bases, correct, networks, strict=True)
        if len(right)
    ]
    crafted = iter((yield crafting))
    aims, without = [], []
    for base, (right, _) in zip(bases, correct, strict=True):
        of_own_poison = next(crafted) if len(right) else None
        of_seed = (
            [] if of_own_poison is None else [_aim(base, right, place, of_own_poison) for place in range(len(right))]
        )
        aims += [aim for aim in of_seed if len(aim.poison)]
        without.append(sum(not len(aim.poison) for aim in of_seed))
    return Aiming(aims, bases, [missed for _, missed in correct], without, crafting)


def _classified(base: Base, chosen: Chosen, count: int) -> tuple[Chosen, int]:
    """The rows that the base classifies correctly, at most ``count``, and how many before them it does not."""
    result = base.result
    assert result.predictions is not None
    right = result.predictions[result.best_epoch - 1] == chosen.y
    places = right.nonzero().squeeze(1)[:count]
    considered = len(chosen) if len(places) < count else int(places[-1]) + 1
    return chosen[places], considered - len(places)


def _aim(base: Base, right: Chosen, place: int, poison: PoisonSet) -> Aim:
    one = slice(place, place + 1)
    target = Split(right.x[one], right.y[one])
    return Aim(
        base, int(right.rows[place]), bool(right.listed[place]), target, right.wanted[one], poison.against(place)
    )


@dataclass(frozen=True, eq=False)
class Run:
    """A re-training that is asked for.

    Attributes:
        aims: targets that it is for, of one base model, at least 1. Only rows that are made for none of them can be for
            several: it is then watched for each, and ends for none.
        rows: what is added to the clean rows.
        name: what its random numbers are drawn by, beside the seed.
    """

    aims: Sequence[Aim]
    rows: PoisonSet
    name: tuple[str | int, ...]

    @property
    def base(self) -> Base:
        """What is trained further."""
        return self.aims[0].base


@dataclass(frozen=True, eq=False)
class Round:
    """Some re-trainings.

    Attributes:
        runs, results: one each.
        successes: of each run, what became of each of its targets.
        filters, trainings: the jobs.
        masks: for each, the rows that were kept; ``None`` for all.
    """

    runs: Sequence[Run]
    successes: Sequence[Sequence[Success]]
    results: Sequence[TrainingResult]
    filters: Sequence[AnyJob]
    trainings: Sequence[AnyJob]
    masks: Sequence[Tensor | None]


@dataclass(frozen=True, eq=False)
class Retraining:
    """How base models are trained further.

    Attributes:
        case, dataset, device: of the experiment.
        start: which recipes.
        counted: after which epochs a target counts as won.
        allowed: largest relative accuracy drop against the run's own base of a success that counts as filtered.
        probe: what is measured of the gradients; ``None`` for nothing. With one, training goes on after a success, so
            that all epochs are measured, and the success is that of the same training without a probe.
    """

    case: Subject
    dataset: Dataset
    device: str
    start: Retrained
    counted: Counted
    allowed: float
    probe: GradientProbe | None = None

    @property
    def recipe(self) -> Recipe:
        """Of the second training."""
        return recipes_of(self.case, self.start, "re-training")[1]

    @property
    def asks(self) -> bool:
        """Whether a defence is asked first which rows to keep, and told what the target is."""
        return self.case.defense.filters

    def run(self, runs: Sequence[Run]) -> Part[Round]:
        """Train further; filtered first, if the case's defence does.

        Args:
            runs: what with, and for whom.

        Returns:
            What became of them.
        """
        seeds = [_seeds.derive(run.base.seed, "re-training", *run.name) for run in runs]
        filters, masks = yield from filtering(
            self.case,
            self.dataset,
            self.device,
            [run.rows for run in runs],
            seeds,
            targets=[run.aims[0].target for run in runs],
            recipe=self.recipe,
            models=[run.base.model for run in runs],
        )
        jobs = [self._job(run, keep, seed) for run, keep, seed in zip(runs, masks, seeds, strict=True)]
        results = yield jobs
        successes = [self._successes(run, result) for run, result in zip(runs, results, strict=True)]
        return Round(runs, successes, results, filters, jobs, masks)

    def _ends_with_success(self, run: Run) -> bool:
        return self.counted is Counted.ANY_EPOCH and self.probe is None and len(run.aims) == 1

    def _scoring(self, run: Run) -> Scoring:
        # Where training goes on after a success, the accuracy in that epoch has to be known.
        ends = self._ends_with_success(run) or (self.counted is Counted.LAST_EPOCH and self.probe is None)
        return Scoring.AT_END if ends else Scoring.EVERY_EPOCH

    def _job(self, run: Run, keep: Tensor | None, seed: int) -> Train:
        base = run.base.result
        targets = [aim.target for aim in run.aims]
        return Train(
            self.dataset,
            self.device,
            self.recipe,
            seed,
            run.rows,
            keep=keep,
            watch=Split(torch.cat([target.x for target in targets]), torch.cat([target.y for target in targets])),
            initial=base.best,
            wanted=run.aims[0].wanted if self._ends_with_success(run) else None,
            probe=self.probe,
            # All of a seed see the clean rows in one order, so that they share their products.
            order_seed=_seeds.derive(run.base.seed, "re-training order"),
            initial_optimizer=base.best_optimizer if self.start.remembers else None,
            scoring=self._scoring(run),
        )

    def _successes(self, run: Run, result: TrainingResult) -> list[Success]:
        assert result.predictions is not None
        predictions = result.predictions
        at_end = self._scoring(run) is Scoring.AT_END
        return [
            self._success(aim, predictions[:, place] == aim.wanted, result, at_end=at_end)
            for place, aim in enumerate(run.aims)
        ]

    def _success(self, aim: Aim, taken: Tensor, result: TrainingResult, *, at_end: bool) -> Success:
        # A training that ends with its success is scored in that epoch, its last one.
        first = bool(taken.any()) and self.counted is Counted.ANY_EPOCH
        epoch = int(taken.nonzero()[0]) + 1 if first else len(taken)
        accuracy = float(result.accuracy[-1 if at_end else epoch - 1])
        rad = relative_accuracy_drop(aim.base.accuracy, accuracy)
        won = bool(taken[epoch - 1])
        return Success(won, won and rad <= self.allowed, epoch, rad)
