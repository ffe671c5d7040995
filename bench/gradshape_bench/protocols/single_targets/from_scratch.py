"""Poison for single targets in trainings from scratch, of victims that the attacker may not see into."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gradshape import _validate
from gradshape.attacks import PoisonSet, TargetedAttack
from gradshape.data import Split
from gradshape.training import Recipe, TrainedModel, TrainingResult
from gradshape_bench.protocols import effect_metrics
from gradshape_bench.protocols.accuracy import Accuracy, estimates
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.groups import Trainings
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.attackers_networks import attackers_networks
from gradshape_bench.protocols.single_targets.counted_epochs import Counted
from gradshape_bench.protocols.single_targets.distinct_targets import Identity, by_target, rate
from gradshape_bench.targets import Chosen, Targets, TooFewTargets, candidates


@dataclass(frozen=True)
class ScratchTargets:
    """For every target a victim is trained from scratch on clean rows and all of the target's poison rows together.

    The victims may be anything that can be trained, such as a training function of the user's own. Poison is crafted on
    networks that are trained on the clean rows: the attack's substitutes; or the task's surrogate; or, where there is
    neither, a network by the victim's own recipe with a seed of its own. A test row that the defended model
    misclassifies without poison is no target. As a control, the same training with the clean rows that the poison was
    made from.

    Args:
        targets: how many test rows each seed attacks, and which class they are to be taken for.
        counted: after which epochs a target that is taken for the intended class counts as won.

    Raises:
        ValueError: ``counted`` is not a :class:`Counted`.

    Zhu et al. 2019 and Aghakhani et al. 2021 (transfer to a victim that is trained from scratch).
    """

    targets: Targets
    counted: Counted = Counted.LAST_EPOCH

    def __post_init__(self) -> None:
        _validate.member(Counted, counted=self.counted)

    @property
    def label(self) -> str:
        parts = ["scratch_targets"]
        if self.targets.label:
            parts.append(self.targets.label)
        if self.counted is Counted.ANY_EPOCH:
            parts.append("any_epoch")
        return "_".join(parts)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: the attack does not aim at single targets, cannot be made on this data, or has no network to be
                crafted on.
            TooFewTargets: the clean models of all seeds classify none of the rows correctly.
        """
        attack, dataset = case.attack, lab.dataset
        if not isinstance(attack, TargetedAttack):
            raise ValueError(f"attack {attack.label!r} does not aim at single targets: expected a TargetedAttack")
        reason = attack.unsuitable(dataset.copy())
        if reason is not None:
            raise ValueError(f"{attack.label} cannot be made on {dataset.name}: {reason}")
        pool = candidates(dataset, self.targets)
        considered = [pool.for_seed(seed, self.targets.count) for seed in case.seeds]
        watch = [rows.split for rows in considered]
        recipes = _recipes(case, attack)
        vanilla, clean, known = yield from lab.ask(
            lab.train_unfiltered(case.vanilla),
            lab.train(case.recipe, watch=watch, targets=watch),
            attackers_networks(lab, recipes),
        )
        right = [self._right(rows, result) for rows, result in zip(considered, clean, strict=True)]
        attacked = [place for place, rows in enumerate(right) if len(rows)]
        if not attacked:
            raise TooFewTargets(
                f"{dataset.name}: no clean model classifies any of {len(considered[0])} rows correctly: expected at "
                "least 1 target"
            )
        each = len(recipes)
        networks = [
            TrainedModel(recipe, result.last, units=dataset.units)
            for recipe, result in zip(recipes * len(case.seeds), known, strict=True)
            if result.last is not None
        ]
        poisons = yield from lab.ask(
            lab.craft(
                attack,
                recipes[0],
                seeds=[case.seeds[place] for place in attacked],
                targets=[right[place].split for place in attacked],
                intended=[right[place].intended for place in attacked],
                networks=[tuple(networks[place * each : (place + 1) * each]) for place in attacked],
            )
        )
        trials = [
            _Trial(case.seeds[place], right[place][torch.tensor([one])], poison.against(one))
            for place, poison in zip(attacked, poisons, strict=True)
            for one in range(len(right[place]))
        ]
        tried = [trial for trial in trials if len(trial.poison)]
        poisoned, control = yield from lab.ask(
            _train(lab, tried, [trial.poison for trial in tried]),
            _train(lab, tried, [trial.clean(dataset.test) for trial in tried]),
        )
        identities = [trial.identity for trial in tried]
        won = [self._won(trial, result) for trial, result in zip(tried, poisoned, strict=True)]
        by_chance = [self._won(trial, result) for trial, result in zip(tried, control, strict=True)]
        cost = effect_metrics.utility_metrics(vanilla, clean, Accuracy.BEST)
        return lab.measurement(
            {
                "success_rate": rate(by_target(identities, won)),
                "success_rate_control": rate(by_target(identities, by_chance)),
                **estimates(cost),
            },
            recipe=case.recipe,
            poisoned=poisoned,
            budget=attack.budget(len(dataset.train)),
            crafted_on=[recipe.model for recipe in recipes],
            counted=self.counted.value,
            targets=len(tried),
            trials=[list(identity) for identity in dict.fromkeys(identities)],
            targets_misclassified=[len(rows) - len(found) for rows, found in zip(considered, right, strict=True)],
            targets_without_poison=len(trials) - len(tried),
            candidates=[len(trial.poison) for trial in tried],
            successes=sum(won),
            successes_control=sum(by_chance),
        )

    def _right(self, rows: Chosen, clean: TrainingResult) -> Chosen:
        """Return the first of the rows that the clean model classifies correctly after its last epoch."""
        assert clean.predictions is not None
        return rows[(clean.predictions[-1] == rows.y).nonzero().squeeze(1)[: self.targets.count]]

    def _won(self, trial: "_Trial", result: TrainingResult) -> bool:
        assert result.predictions is not None
        taken = (result.predictions == trial.target.intended).squeeze(1)
        return bool(taken[-1] if self.counted is Counted.LAST_EPOCH else taken.any())


@dataclass(frozen=True, eq=False)
class _Trial:
    """A target of one seed, and the poison rows for it."""

    seed: int
    target: Chosen
    poison: PoisonSet

    @property
    def identity(self) -> Identity:
        return int(self.target.rows), int(self.target.intended)

    def clean(self, test: Split) -> PoisonSet:
        """Return the clean rows that the poison was made from."""
        assert self.poison.aims is not None
        base = self.poison.aims.base
        return PoisonSet.added(test.x[base], test.y[base])


def _recipes(case: Subject, attack: TargetedAttack) -> tuple[Recipe, ...]:
    """Return the recipes of the networks that the poison is crafted on."""
    if attack.substitutes:
        return attack.substitutes
    known = case.surrogate or case.recipe
    if not isinstance(known, Recipe):
        raise ValueError(
            f"{attack.label} is crafted on a network, and {known.model!r} is none: give the attack substitutes, or the "
            "task a surrogate=Recipe(...)"
        )
    return (known,)


def _train(lab: Lab, trials: Sequence[_Trial], rows: Sequence[PoisonSet]) -> Trainings:
    targets = [trial.target.split for trial in trials]
    return lab.train(
        lab.case.recipe, list(rows), seeds=[trial.seed for trial in trials], watch=targets, targets=targets
    )
