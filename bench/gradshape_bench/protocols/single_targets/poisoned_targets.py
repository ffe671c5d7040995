"""The single targets of an experiment: base models, the rows that they classify correctly, and poison for those."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from gradshape import _seeds
from gradshape.attacks import PoisonSet, TargetedAttack
from gradshape.data import Split
from gradshape_bench.jobs import AnyJob, Train
from gradshape_bench.protocols.base import Part
from gradshape_bench.protocols.base_models import base_models
from gradshape_bench.protocols.groups import Trainings
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.start import Base, Retrained, best_of
from gradshape_bench.targets import Chosen, Targets, TooFewTargets, candidates


@dataclass(frozen=True, eq=False)
class PoisonedTarget:
    """A target of one seed, with the poison for it.

    Attributes:
        base: what is trained further.
        row: place of the target in the test split.
        listed: whether the target is from a stored list.
        split: that row with its true label.
        intended: ``(1,)`` int64, the intended class: the one that it is to be taken for.
        poison: rows in the order in which the attack uses them, at least 1.
    """

    base: Base
    row: int
    listed: bool
    split: Split
    intended: Tensor
    poison: PoisonSet


@dataclass(frozen=True, eq=False)
class PoisonedTargets:
    """All targets of an experiment.

    Attributes:
        targets: those for which there is poison.
        bases: one a seed.
        misclassified: by seed, how many considered rows were no targets, as the base model misclassifies them.
        without_poison: by seed, how many targets there is no poison for within the distance that the attack allows.
        crafting: the jobs that made the poison.
    """

    targets: Sequence[PoisonedTarget]
    bases: Sequence[Base]
    misclassified: Sequence[int]
    without_poison: Sequence[int]
    crafting: Sequence[AnyJob]


def poisoned_targets(lab: Lab, start: Retrained, targets: Targets) -> Part[PoisonedTargets]:
    """Train base models, choose targets and craft poison for them.

    The base is the best-accuracy epoch. A row that it misclassifies is no target; a seed may have none.

    Raises:
        ValueError: the attack does not aim at single targets, a recipe has no gradients, or the attack cannot be made
            on this data.
        TooFewTargets: the base models of all seeds classify none of the rows correctly.
    """
    attack, dataset, seeds = lab.case.attack, lab.dataset, lab.case.seeds
    if not isinstance(attack, TargetedAttack):
        raise ValueError(f"attack {attack.label!r} does not aim at single targets: expected a TargetedAttack")
    reason = attack.unsuitable(dataset.copy())
    if reason is not None:
        raise ValueError(f"{attack.label} cannot be made on {dataset.name}: {reason}")
    recipe, _ = start.recipes(lab.case, "re-training with poison")
    pool = candidates(dataset, targets)
    considered = [pool.of_seed(seed, targets.count) for seed in seeds]
    substitutes = [
        Train(dataset, lab.device, substitute, _seeds.derive(seed, "substitute", place), keep_states=True)
        for seed in seeds
        for place, substitute in enumerate(attack.substitutes)
    ]
    bases, trained = yield from base_models(
        lab, recipe, Trainings(substitutes), remember=start.remembers, watch=[rows.split for rows in considered]
    )
    of_attacker = [best_of(own, result) for own, result in zip(attack.substitutes * len(seeds), trained, strict=True)]
    correct = [_classified(base, rows, targets.count) for base, rows in zip(bases, considered, strict=True)]
    if not any(len(right) for right, _ in correct):
        raise TooFewTargets(
            f"{dataset.name}: no base model classifies any of {len(considered[0])} rows correctly: expected at least 1 "
            "target"
        )
    each = len(attack.substitutes)
    attacked = [
        (base, right, tuple(of_attacker[place * each : (place + 1) * each]) or (base.model,))
        for place, (base, (right, _)) in enumerate(zip(bases, correct, strict=True))
        if len(right)
    ]
    poisons = yield from lab.ask(
        lab.craft(
            attack,
            recipe,
            seeds=[base.seed for base, _, _ in attacked],
            targets=[right.split for _, right, _ in attacked],
            intended=[right.intended for _, right, _ in attacked],
            networks=[networks for _, _, networks in attacked],
        )
    )
    found = [
        _target(base, right, place, poison)
        for (base, right, _), poison in zip(attacked, poisons, strict=True)
        for place in range(len(right))
    ]
    return PoisonedTargets(
        [target for target in found if len(target.poison)],
        bases,
        [missed for _, missed in correct],
        [sum(target.base is base and not len(target.poison) for target in found) for base in bases],
        poisons.jobs,
    )


def _classified(base: Base, considered: Chosen, count: int) -> tuple[Chosen, int]:
    """Return at most ``count`` rows that the base classifies correctly, and how many it misclassifies before them."""
    result = base.result
    assert result.predictions is not None
    right = result.predictions[result.best_epoch - 1] == considered.y
    places = right.nonzero().squeeze(1)[:count]
    tried = len(considered) if len(places) < count else int(places[-1]) + 1
    return considered[places], tried - len(places)


def _target(base: Base, right: Chosen, place: int, poison: PoisonSet) -> PoisonedTarget:
    one = slice(place, place + 1)
    split = Split(right.x[one], right.y[one])
    return PoisonedTarget(
        base, int(right.rows[place]), bool(right.listed[place]), split, right.intended[one], poison.against(place)
    )
