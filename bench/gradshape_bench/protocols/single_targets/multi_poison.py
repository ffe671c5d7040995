"""More and more poison rows together against single targets: how many does an attack need?"""

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

from gradshape import _validate
from gradshape.attacks import TargetedAttack
from gradshape.metrics import mean_over_seeds
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.base import SingleTargets
from gradshape_bench.protocols.single_targets.poisoned_targets import PoisonedTarget
from gradshape_bench.protocols.single_targets.tries_per_target import Tries, Try


@dataclass(frozen=True)
class MultiPoison(SingleTargets):
    """For every target, base models are re-trained with the first 1, 2, 3, ... of its poison rows together.

    As :class:`~gradshape_bench.protocols.OneShot`, but for what is added: prefixes of the attack's rows. More poison
    need not do more, so every prefix is a re-training of its own, shortest first, and the smallest number that succeeds
    is what counts. Of an attack whose rows work together only, all rows are the one prefix.

    Besides what :class:`~gradshape_bench.protocols.single_targets.base.SingleTargets` says:

    Args:
        at_once: how many prefixes of a target are tried in the first round, before it is known whether a shorter one
            succeeds; each later round has as many as were tried before it. At least 1. It changes the time that is
            taken, and no number.

    Hong et al. 2020, sections 6.4 and 6.5.
    """

    _: KW_ONLY
    at_once: int = 2

    name: ClassVar[str] = "multi_poison"
    one_by_one: ClassVar[bool] = False

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.positive_int(at_once=self.at_once)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: as :meth:`SingleTargets.attack`.
        """
        together = isinstance(case.attack, TargetedAttack) and case.attack.joint

        def prefixes(target: PoisonedTarget) -> list[Try]:
            rows = len(target.poison)
            return [Try(f"first {count}", range(count)) for count in range(rows if together else 1, rows + 1)]

        attacked = yield from self.attack(lab, prefixes, at_once=self.at_once)
        needed = [_needed(target, attacked.attack) for target in attacked.found.targets]
        by_target = attacked.by_target([count for *_, count in needed])
        metrics = {"poisons_needed": mean_over_seeds(by_target)} if by_target else {}
        return attacked.measurement(metrics, needed=needed, tries=len(attacked.attack))


def _needed(target: PoisonedTarget, attack: Tries) -> list[Any]:
    """Return seed, row, class, intended class, the number of poison rows, and how many won it: ``None`` if none did."""
    winner = attack.winner(target)
    return [
        target.base.seed,
        target.row,
        int(target.split.y),
        int(target.intended),
        len(target.poison),
        None if winner is None else len(winner[0].places),
    ]
