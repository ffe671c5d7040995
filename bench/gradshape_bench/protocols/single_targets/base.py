"""What the protocols on single targets have in common: their settings, their labels, and how targets are attacked."""

from dataclasses import KW_ONLY, dataclass, field, replace
from typing import ClassVar

from gradshape import _validate
from gradshape.attacks import Attack, TargetedAttack
from gradshape.training import AnyRecipe, GradientProbe
from gradshape_bench.protocols.base import Part
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.single_targets.attacked_targets import AttackedTargets
from gradshape_bench.protocols.single_targets.counted_epochs import Counted
from gradshape_bench.protocols.single_targets.poisoned_targets import poisoned_targets
from gradshape_bench.protocols.single_targets.retraining import Retraining
from gradshape_bench.protocols.single_targets.tries_per_target import TriesFor, until_won, with_clean_rows
from gradshape_bench.protocols.start import By, Retrained
from gradshape_bench.targets import Targets

# The paper's: base and re-training are by one recipe, and the optimizer goes on where it was.
PAPERS_START = Retrained(epochs=50, base=By.DEFENDED, again=By.DEFENDED, remembers=True)


@dataclass(frozen=True)
class SingleTargets:
    """Base of the protocols that re-train base models with poison for single targets.

    Args:
        targets: how many test rows each seed attacks, and which class they are to be taken for.
        start: by whose recipes the base model is trained and trained further.
        counted: after which epochs a target that is taken for the intended class counts as won.
        allowed: the largest relative accuracy drop of a success, against the base model of the same run.

    Attributes:
        name: what labels begin with.
        one_by_one: whether a row is an attack of its own, so that rows that work together only are refused.

    Raises:
        ValueError: ``allowed`` is negative, or ``counted`` is not a :class:`Counted`.
    """

    targets: Targets
    start: Retrained = field(default=PAPERS_START)
    _: KW_ONLY
    counted: Counted = Counted.ANY_EPOCH
    allowed: float = 0.05

    name: ClassVar[str]
    one_by_one: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _validate.finite_non_negative(allowed=self.allowed)
        _validate.member(Counted, counted=self.counted)

    @property
    def label(self) -> str:
        """The name, with the classes, the recipes and what counts as won where these are not the paper's.

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

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the attack or the recipe is none for it: it needs targets, and goes on from a trained model."""
        if not isinstance(attack, TargetedAttack):
            return f"attack {attack.label!r} does not aim at single targets: expected a TargetedAttack"
        if self.one_by_one and attack.joint:
            return (
                f"attack {attack.label!r}: its rows work together only, and {self.label} takes one at a time: use "
                "MultiPoison"
            )
        return self.start.refuses(recipe, "re-training with poison")

    def attack(
        self, lab: Lab, tries_for: TriesFor, *, at_once: int = 1, probe: GradientProbe | None = None
    ) -> Part[AttackedTargets]:
        """Choose and attack targets, and try the same with clean rows in place of the poison.

        Args:
            lab: of the experiment.
            tries_for: of a target, what is tried, in order.
            at_once: tries of a target in the first round.
            probe: what is measured of the gradients of the re-trainings with poison.

        Raises:
            ValueError: the attack does not aim at single targets or its rows work together only, or the base model
                classifies no target correctly.
        """
        lab.check_applies(self)
        found = yield from poisoned_targets(lab, self.start, self.targets)
        retraining = Retraining(lab, self.start, self.counted, self.allowed, probe)
        tried = yield from until_won(retraining, found.targets, tries_for, at_once=at_once)
        control = yield from with_clean_rows(replace(retraining, probe=None), found.targets, tries_for)
        return AttackedTargets(retraining, found, tried, control)
