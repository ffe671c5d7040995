"""The single targets of an experiment: base models, the rows that they classify correctly, and poison for those."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

from torch import Tensor

from gradshape.attacks import PoisonSet, TargetedAttack
from gradshape.data import Split
from gradshape.training import TrainedModel
from gradshape.unsuitable import Unsuitable
from gradshape_bench.jobs import AnyJob
from gradshape_bench.protocols.base import Part
from gradshape_bench.protocols.base_models import Base, best_of
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.attackers_networks import attackers_networks
from gradshape_bench.protocols.single_targets.distinct_targets import Identity
from gradshape_bench.protocols.start import Retrained
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

    @property
    def identity(self) -> Identity:
        return self.row, int(self.intended)


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
    assert isinstance(attack, TargetedAttack)
    reason = attack.unsuitable(dataset.copy())
    if reason is not None:
        raise Unsuitable(f"{attack.label} cannot be made on {dataset.name}: {reason}")
    recipe, _ = start.recipes(lab.case, "re-training with poison")
    pool = candidates(dataset, targets)
    considered = [pool.for_seed(seed, targets.count) for seed in seeds]
    bases, trained = yield from start.base_models(
        lab, attackers_networks(lab, attack.substitutes), watch=[rows.split for rows in considered]
    )
    each = len(attack.substitutes)
    substitutes = [
        best_of(dataset, recipe, result)
        for recipe, result in zip(attack.substitutes * len(bases), trained, strict=True)
    ]
    victims = [
        _Victim(
            base,
            *_classified(base, rows, targets.count),
            substitutes=tuple(substitutes[place * each : (place + 1) * each]),
        )
        for place, (base, rows) in enumerate(zip(bases, considered, strict=True))
    ]
    attacked = [victim for victim in victims if len(victim.right)]
    if not attacked:
        raise TooFewTargets(
            f"{dataset.name}: no base model classifies any of {len(considered[0])} rows correctly: expected at least 1 "
            "target"
        )
    poisons = yield from lab.ask(
        lab.craft(
            attack,
            recipe,
            seeds=[victim.base.seed for victim in attacked],
            targets=[victim.right.split for victim in attacked],
            intended=[victim.right.intended for victim in attacked],
            networks=[victim.substitutes or (victim.base.model,) for victim in attacked],
        )
    )
    found = [
        _target(victim, place, poison)
        for victim, poison in zip(attacked, poisons, strict=True)
        for place in range(len(victim.right))
    ]
    return PoisonedTargets(
        [target for target in found if len(target.poison)],
        bases,
        [victim.misclassified for victim in victims],
        [sum(target.base is base and not len(target.poison) for target in found) for base in bases],
        poisons.jobs,
    )


@dataclass(frozen=True, eq=False)
class _Victim:
    """What is attacked with one seed.

    Attributes:
        base: what is trained further.
        right: the targets, which it classifies correctly.
        misclassified: how many rows it misclassifies before the last of them.
        substitutes: the attacker's networks, if the attack is crafted on its own.
    """

    base: Base
    right: Chosen
    misclassified: int
    _: KW_ONLY
    substitutes: tuple[TrainedModel, ...]


def _classified(base: Base, considered: Chosen, count: int) -> tuple[Chosen, int]:
    """Return at most ``count`` rows that the base classifies correctly, and how many it misclassifies before them."""
    result = base.result
    assert result.predictions is not None
    right = result.predictions[result.best_epoch - 1] == considered.y
    places = right.nonzero().squeeze(1)[:count]
    tried = len(considered) if len(places) < count else int(places[-1]) + 1
    return considered[places], tried - len(places)


def _target(victim: _Victim, place: int, poison: PoisonSet) -> PoisonedTarget:
    one, right = slice(place, place + 1), victim.right
    return PoisonedTarget(
        victim.base,
        int(right.rows[place]),
        bool(right.listed[place]),
        Split(right.x[one], right.y[one]),
        right.intended[one],
        poison.against(place),
    )
