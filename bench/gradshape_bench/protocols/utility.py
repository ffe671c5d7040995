"""Train on clean data only: what a defence costs."""

from dataclasses import dataclass
from functools import partial

from gradshape import _validate
from gradshape_bench.protocols import effect_metrics
from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.base import Experiment, Subject
from gradshape_bench.protocols.lab import Lab


@dataclass(frozen=True)
class Utility:
    """There is no attack: for each seed the vanilla and the defended recipe on clean data.

    Args:
        accuracy: which epoch's test accuracy the metrics without suffix take.

    Raises:
        ValueError: ``accuracy`` is not an :class:`Accuracy`.

    Hong et al. 2020, Appendix F, Fig. 12.
    """

    accuracy: Accuracy = Accuracy.BEST

    def __post_init__(self) -> None:
        _validate.member(Accuracy, accuracy=self.accuracy)

    @property
    def label(self) -> str:
        return f"utility{self.accuracy.suffix}"

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: the case has an attack.
        """
        lab.check_no_attack(self.label)
        vanilla, defended = yield from lab.ask(lab.train_unfiltered(case.vanilla), lab.train(case.recipe))
        return lab.measurement(
            self.accuracy.estimates(partial(effect_metrics.utility_metrics, vanilla, defended)),
            recipe=case.recipe,
            accuracy=self.accuracy,
        )
