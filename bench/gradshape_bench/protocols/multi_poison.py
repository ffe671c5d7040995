"""More and more poison rows together against single targets: how many does an attack need?"""

from dataclasses import dataclass
from typing import Any, ClassVar

from gradshape import _validate
from gradshape.attacks import TargetedAttack
from gradshape.data import Dataset
from gradshape.metrics import mean_over_seeds
from gradshape_bench.protocols import aims
from gradshape_bench.protocols.aimed import Aimed
from gradshape_bench.protocols.aiming import Aim
from gradshape_bench.protocols.base import Experiment, Measurement, Subject
from gradshape_bench.protocols.tries import Tries, Try, until_won, with_clean_rows


@dataclass(frozen=True)
class MultiPoison(Aimed):
    """For every target, base models are re-trained with the first 1, 2, 3, ... of its poison rows together.

    As :class:`~gradshape_bench.protocols.one_shot.OneShot`, but for what is added: prefixes of the attack's rows. More
    poison need not do more, so every prefix is a re-training of its own, shortest first, and the smallest number that
    succeeds is what counts. Of an attack whose rows work together only, all rows are the one prefix.

    Besides what :class:`~gradshape_bench.protocols.aimed.Aimed` says:

    Args:
        at_once: how many prefixes of a target are tried in the first round, before it is known whether a shorter one
            succeeds; each later round has as many as were tried before it. At least 1. It changes the time that is
            taken, and no number.

    Hong et al. 2020, sections 6.4 and 6.5.
    """

    at_once: int = 2

    name: ClassVar[str] = "multi_poison"
    one_by_one: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.positive_int(at_once=self.at_once)

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: as :meth:`Aimed.aim <gradshape_bench.protocols.aimed.Aimed.aim>`.
        """
        found, retraining = yield from self.aim(case, dataset, device)
        joint = isinstance(case.attack, TargetedAttack) and case.attack.joint

        def prefixes(aim: Aim) -> list[Try]:
            rows = len(aim.poison)
            return [Try(f"first {count}", range(count)) for count in range(rows if joint else 1, rows + 1)]

        attack = yield from until_won(retraining, found.aims, prefixes, at_once=self.at_once)
        control = yield from with_clean_rows(retraining, found.aims, prefixes)
        metrics, details = aims.outcome(case, dataset, retraining, found, attack, control)
        needed = [_needed(aim, attack) for aim in found.aims]
        of_targets = aims.by_target(found.aims, [count for *_, count in needed])
        if of_targets:
            metrics["poisons_needed"] = mean_over_seeds(of_targets)
        metrics |= aims.removed(found, attack, len(dataset.train))
        details["needed"] = needed
        details["tries"] = len(attack)
        return Measurement(metrics, details, attack.timed(found.crafting))


def _needed(aim: Aim, attack: Tries) -> list[Any]:
    """Seed, row, class, wanted class, poison rows that there were, and how many were needed, ``None`` if none won."""
    first = attack.first(aim)
    return [
        aim.base.seed,
        aim.row,
        int(aim.target.y),
        int(aim.wanted),
        len(aim.poison),
        None if first is None else len(first[0].places),
    ]
