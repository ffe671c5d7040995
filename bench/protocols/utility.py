"""Train on clean data only: what a defence costs."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from bench.jobs import Filter, Train
from bench.protocols.base import Experiment, Measurement, Subject, setup_of
from gradshape import _validate
from gradshape.data import Dataset
from gradshape.metrics import Estimate, mean_over_seeds, relative_accuracy_drop

_EPOCHS = ("best", "last")


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
        if self.accuracy not in _EPOCHS:
            raise _validate.unknown("accuracy", self.accuracy, _EPOCHS)

    @property
    def label(self) -> str:
        return "utility" if self.accuracy == "best" else f"utility_{self.accuracy}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the case has an attack.
        """
        if case.attack.budget(len(dataset.train)):
            raise ValueError(
                f"attack {case.attack.label!r}: {self.label} trains on clean data only: expected NoAttack()"
            )
        seeds, n = case.seeds, len(case.seeds)
        kept: Sequence[Tensor | None] = [None] * n
        if case.defense.filters:
            kept = yield [Filter.by(dataset, device, case.defense, case.vanilla, None, seed) for seed in seeds]
        trained = yield [
            *(Train(dataset, device, case.vanilla, seed) for seed in seeds),
            *(Train(dataset, device, case.recipe, seed, keep=keep) for seed, keep in zip(seeds, kept, strict=True)),
        ]
        vanilla, defended = trained[:n], trained[n:]
        metrics: dict[str, Estimate] = {}
        for epoch in _EPOCHS:
            plain, shaped = ([getattr(result, f"{epoch}_accuracy") for result in half] for half in (vanilla, defended))
            drops = [relative_accuracy_drop(p, s) for p, s in zip(plain, shaped, strict=True)]
            values = {"utility_loss": drops, "accuracy_vanilla": plain, "accuracy_clean": shaped}
            for name, per_seed in values.items():
                metrics[f"{name}_{epoch}"] = mean_over_seeds(per_seed)
        details = {
            "accuracy": self.accuracy,
            "train_rows": len(dataset.train),
            "test_rows": len(dataset.test),
            **setup_of(case.recipe),
            "diverged": sum(result.diverged is not None for result in trained),
        }
        return Measurement({**{name: metrics[f"{name}_{self.accuracy}"] for name in values}, **metrics}, details)
