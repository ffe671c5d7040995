"""One poison row at a time against single targets: is there one that turns a re-trained model?"""

from dataclasses import dataclass
from typing import Any, ClassVar

from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.base import SingleTargets
from gradshape_bench.protocols.single_targets.poisoned_targets import PoisonedTarget
from gradshape_bench.protocols.single_targets.tries_per_target import Tries, Try


@dataclass(frozen=True)
class OneShot(SingleTargets):
    """For every target, base models are re-trained with one candidate poison after another until one succeeds.

    For each seed: the vanilla model, the base model, the targets (test rows that the base classifies correctly), and
    the attack on all of them. Then every pair of a target and one of its poisons is one re-training on the clean rows
    and that poison. It ends after the first epoch in which the target is taken for the intended class. A target is won
    if any of its poisons succeeds; the other re-trainings for it are then dropped. The rows are tried in the attack's
    order, one for every target first, then as many at a time as were tried before.

    Beside it, as a control, the same with the clean rows that the poison was made from in its place, until one of them
    succeeds: what re-training alone does to a target, with as many chances as the attack has. Targets of a seed that
    have such a row in common share its re-training.

    Arguments and errors are those of :class:`~gradshape_bench.protocols.single_targets.base.SingleTargets`.

    Hong et al. 2020, sections 6.3 and 6.5; targets, first success and the accuracy of the run's own base are those of
    its released code, whose published numbers of the filtered kind were made by hand.
    """

    name: ClassVar[str] = "one_shot"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: as :meth:`SingleTargets.attack`.
        """
        attacked = yield from self.attack(lab, shots)
        winners = [_winner(target, attacked.attack) for target in attacked.found.targets if attacked.attack.won(target)]
        return attacked.measurement({}, tries=len(attacked.attack), winners=winners)


def shots(target: PoisonedTarget) -> list[Try]:
    """Try every poison row for a target alone."""
    return [Try(f"poison {place}", [place]) for place in range(len(target.poison))]


def _winner(target: PoisonedTarget, attack: Tries) -> list[Any]:
    """Return seed, row, class, intended class, place of the poison, and epoch."""
    winner = attack.winner(target)
    assert winner is not None
    shot, success = winner
    return [target.base.seed, target.row, int(target.split.y), int(target.intended), shot.places[0], success.epoch]
