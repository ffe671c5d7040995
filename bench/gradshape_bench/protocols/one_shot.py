"""One poison row at a time against single targets: is there one that turns a re-trained model?"""

from dataclasses import dataclass
from typing import Any, ClassVar

from gradshape.data import Dataset
from gradshape_bench.protocols import aims
from gradshape_bench.protocols.aimed import Aimed
from gradshape_bench.protocols.aiming import Aim
from gradshape_bench.protocols.base import Experiment, Measurement, Subject
from gradshape_bench.protocols.tries import Tries, Try, until_won, with_clean_rows


@dataclass(frozen=True)
class OneShot(Aimed):
    """For every target, base models are re-trained with one candidate poison after another until one succeeds.

    For each seed: the vanilla model, the base model, the targets (test rows that the base classifies correctly), and
    the attack on all of them. Then every pair of a target and one of its poisons is one re-training on the clean rows
    and that poison. It ends after the first epoch in which the target is taken for the wanted class. A target is won if
    any of its poisons succeeds; the other re-trainings for it are then dropped. The rows are tried in the attack's
    order, one for every target first, then as many at a time as were tried before.

    Beside it, as a control, the same with the clean rows that the poison was made from in its place, until one of them
    succeeds: what re-training alone does to a target, with as many chances as the attack has. Targets of a seed that
    have such a row in common share its re-training.

    Arguments and errors are those of :class:`~gradshape_bench.protocols.aimed.Aimed`.

    Hong et al. 2020, sections 6.3 and 6.5; targets, first success and the accuracy of the run's own base are those of
    its released code, whose published numbers of the filtered kind were made by hand.
    """

    name: ClassVar[str] = "one_shot"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: as :meth:`Aimed.aim <gradshape_bench.protocols.aimed.Aimed.aim>`.
        """
        found, retraining = yield from self.aim(case, dataset, device)
        attack = yield from until_won(retraining, found.aims, shots, at_once=1)
        control = yield from with_clean_rows(retraining, found.aims, shots)
        metrics, details = aims.outcome(case, dataset, retraining, found, attack, control)
        details["tries"] = len(attack)
        details["winners"] = [winner for aim in found.aims if (winner := _winner(aim, attack)) is not None]
        metrics |= aims.removed(found, attack, len(dataset.train))
        return Measurement(metrics, details, attack.timed(found.crafting))


def shots(aim: Aim) -> list[Try]:
    """Every row of the poison for a target, alone."""
    return [Try(f"poison {place}", [place]) for place in range(len(aim.poison))]


def _winner(aim: Aim, attack: Tries) -> list[Any] | None:
    """Seed, row, class, wanted class, place of the poison, epoch; ``None`` for a target that was not won."""
    first = attack.first(aim)
    if first is None:
        return None
    shot, success = first
    return [aim.base.seed, aim.row, int(aim.target.y), int(aim.wanted), shot.places[0], success.epoch]
