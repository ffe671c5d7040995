"""Train on clean data only: what a defence costs."""

from dataclasses import dataclass
from functools import partial

from gradshape.data import Dataset
from gradshape_bench.jobs import Train
from gradshape_bench.protocols import epochs
from gradshape_bench.protocols.base import Experiment, Measurement, Subject, check_no_attack, setup_of
from gradshape_bench.protocols.filtering import filtering


@dataclass(frozen=True)
class Utility:
    """There is no attack: for each seed the vanilla and the defended recipe on clean data.

    Args:
        accuracy: which epoch's test accuracy the metrics without suffix take: ``best``, as the paper's code does,
            or ``last``.

    Raises:
        ValueError: unknown ``accuracy``.

    Hong et al. 2020, Appendix F, Fig. 12.
    """

    accuracy: str = "best"

    def __post_init__(self) -> None:
        epochs.check(self.accuracy)

    @property
    def label(self) -> str:
        return "utility" if self.accuracy == "best" else f"utility_{self.accuracy}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the case has an attack.
        """
        check_no_attack(case, dataset, self.label)
        seeds, n = case.seeds, len(case.seeds)
        _, kept = yield from filtering(case, dataset, device, [None] * n, seeds)
        trained = yield [
            *(Train(dataset, device, case.vanilla, seed) for seed in seeds),
            *(Train(dataset, device, case.recipe, seed, keep=keep) for seed, keep in zip(seeds, kept, strict=True)),
        ]
        metrics = epochs.estimates(partial(epochs.of_defense, trained[:n], trained[n:]), chosen=self.accuracy)
        details = {
            "accuracy": self.accuracy,
            "train_rows": len(dataset.train),
            "test_rows": len(dataset.test),
            **setup_of(case.recipe),
            "diverged": sum(result.diverged is not None for result in trained),
        }
        return Measurement(metrics, details)
