"""Train on clean data and on poisoned data, each from freshly drawn weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gradshape import _validate
from gradshape.attacks import Attack, PoisonSet
from gradshape.metrics import Estimate, mean_over_seeds
from gradshape.training import AnyRecipe
from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.refusal import aims_at_targets

# By how much an objective may exceed a certified bound: what the learner that reached it leaves open.
_CERTIFICATE_TOLERANCE = 1e-3


class CertificateContradicted(Exception):
    """An attack reached more than its certificate allows: one of the two is wrong, and so is the measurement."""


@dataclass(frozen=True)
class FromScratch:
    """Poison is in the training data from the start.

    For each seed: the vanilla and the defended recipe on clean data, the attack, and the defended recipe on
    clean and poisoned data together. Where the defence is given trusted rows, the vanilla recipe is trained on those
    alone, too.

    Args:
        accuracy: which epoch's test accuracy the metrics without suffix take. Estimators have one epoch, and regression
            is measured by the mean squared error.

    Raises:
        ValueError: ``accuracy`` is not an :class:`Accuracy`.

    Hong et al. 2020, section 6.2.
    """

    accuracy: Accuracy = Accuracy.BEST

    def __post_init__(self) -> None:
        _validate.member(Accuracy, accuracy=self.accuracy)

    @property
    def label(self) -> str:
        return f"from_scratch{self.accuracy.suffix}"

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the attack is none for it: it aims at single targets."""
        return aims_at_targets(attack, self.label)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            CertificateContradicted: the attack reached more than its certificate allows.
        """
        vanilla, poisons = yield from lab.ask(lab.train_unfiltered(case.vanilla), lab.craft(case.attack, case.recipe))
        clean, poisoned, trusted = yield from lab.ask(
            lab.train(case.recipe), lab.train(case.recipe, poisons), lab.train_trusted(case.vanilla)
        )
        return lab.comparison(
            _certificate(poisons),
            vanilla=vanilla,
            clean=clean,
            poisoned=poisoned,
            poisons=poisons,
            recipe=case.recipe,
            accuracy=self.accuracy,
            trusted=trusted,
        )


def _certificate(poisons: Sequence[PoisonSet]) -> dict[str, Estimate]:
    """Return the certified bound and what was reached, if the attack knows both."""
    notes: Sequence[Mapping[str, float]] = [poison.notes for poison in poisons]
    names = ("certified_bound", "objective_reached")
    if not all(name in note for note in notes for name in names):
        return {}
    for note in notes:
        if note["objective_reached"] > note["certified_bound"] + _CERTIFICATE_TOLERANCE:
            raise CertificateContradicted(
                f"the objective reached {note['objective_reached']:.6g}, above the certified bound "
                f"{note['certified_bound']:.6g}: expected at most {_CERTIFICATE_TOLERANCE:g} more than the bound"
            )
    return {name: mean_over_seeds([note[name] for note in notes]) for name in names}
