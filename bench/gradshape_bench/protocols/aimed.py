"""What the protocols on single targets are told alike, and what they are called."""

from dataclasses import dataclass, field
from typing import ClassVar

from gradshape import _validate
from gradshape.attacks import TargetedAttack
from gradshape.data import Dataset
from gradshape.training import GradientProbe
from gradshape_bench.protocols.aiming import Aiming, Counted, Retraining, aiming
from gradshape_bench.protocols.base import Subject, check_defense
from gradshape_bench.protocols.bases import Part
from gradshape_bench.protocols.start import By, Retrained
from gradshape_bench.targets import Targets

# The paper's: base and re-training are by one recipe, and the optimizer goes on where it was.
PAPERS_START = Retrained(epochs=50, base=By.DEFENDED, again=By.DEFENDED, remembers=True)


@dataclass(frozen=True)
class Aimed:
    """Base of the protocols that re-train base models with poison for single targets.

    Args:
        targets: how many test rows each seed attacks, and which class they are to be taken for.
        start: by whose recipes the base model is trained and trained further.
        counted: after which epochs a target that is taken for the wanted class counts as won.
        allowed: the largest relative accuracy drop of a success, against the base model of the same run.

    Attributes:
        name: what labels begin with.
        one_by_one: whether a row is an attack of its own, so that rows that work together only are refused.

    Raises:
        ValueError: ``allowed`` is negative, or ``counted`` is not a :class:`Counted`.
    """

    targets: Targets
    start: Retrained = field(default=PAPERS_START)
    counted: Counted = Counted.ANY_EPOCH
    allowed: float = 0.05

    name: ClassVar[str]
    one_by_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _validate.finite_non_negative(allowed=self.allowed)
        if not isinstance(self.counted, Counted):
            raise ValueError(f"counted={self.counted!r}: expected one of {', '.join(map(str, Counted))}")

    @property
    def label(self) -> str:
        """Which classes, whose recipes, and what counts, where these are not the paper's.

        Numbers of targets, epochs and tries do not show: cases that differ in these alone need tasks of two names.
        """
        parts = [self.name]
        if self.targets.label:
            parts.append(self.targets.label)
        if (self.start.base, self.start.again) != (By.DEFENDED, By.DEFENDED):
            parts.append(f"{self.start.base.value}_to_{self.start.again.value}")
        if not self.start.remembers:
            parts.append("afresh")
        if self.counted is Counted.LAST_EPOCH:
            parts.append("last_epoch")
        if self.allowed != 0.05:
            parts.append(f"rad{self.allowed:g}".replace("+", ""))
        return "_".join(parts)

    def aim(
        self, case: Subject, dataset: Dataset, device: str, *, probe: GradientProbe | None = None
    ) -> Part[tuple[Aiming, Retraining]]:
        """The part of an experiment that comes before the re-trainings: what is aimed at, and how they are done.

        Raises:
            ValueError: the defence cannot be used on this data, the attack does not aim at single targets or its rows
                work together only, or the base model classifies no target correctly.
        """
        attack = case.attack
        if self.one_by_one and isinstance(attack, TargetedAttack) and attack.joint:
            raise ValueError(
                f"attack {attack.label!r}: its rows work together only, and {self.label} takes one at a time: use "
                "MultiPoison"
            )
        check_defense(case, dataset)
        found = yield from aiming(case, dataset, device, self.start, self.targets)
        return found, Retraining(case, dataset, device, self.start, self.counted, self.allowed, probe)
