"""Train on clean data and on poisoned data, each from freshly drawn weights."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from torch import Tensor

from bench.jobs import Craft, Filter, Train
from bench.protocols.base import Experiment, Measurement, Subject
from gradshape import _validate
from gradshape.data import Dataset
from gradshape.metrics import Estimate, mean_over_seeds, relative_accuracy_drop
from gradshape.training import TrainingResult

_EPOCHS = ("best", "last")


@dataclass(frozen=True)
class FromScratch:
    """Poison is in the training data from the start.

    For each seed: the vanilla and the defended recipe on clean data, the attack, and the defended recipe on
    clean and poisoned data together.

    Args:
        accuracy: which epoch's test accuracy the metrics without suffix take: ``best``, as the paper's code does,
            or ``last``.

    Raises:
        ValueError: unknown ``accuracy``.

    Hong et al. 2020, section 6.2.
    """

    accuracy: str = "best"

    def __post_init__(self) -> None:
        if self.accuracy not in _EPOCHS:
            raise _validate.unknown("accuracy", self.accuracy, _EPOCHS)

    @property
    def label(self) -> str:
        return "from_scratch" if self.accuracy == "best" else f"from_scratch_{self.accuracy}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case."""
        seeds, n = case.seeds, len(case.seeds)
        first = yield [
            *(Train(dataset, device, case.vanilla, seed) for seed in seeds),
            *(Craft.against(dataset, device, case.attack, case.recipe, seed) for seed in seeds),
        ]
        vanilla, poisons = first[:n], first[n:]
        kept: Sequence[Tensor | None] = [None] * (2 * n)
        if case.defense.filters:
            kept = yield [
                *(Filter(dataset, device, case.defense, None, seed) for seed in seeds),
                *(
                    Filter(dataset, device, case.defense, poison, seed)
                    for seed, poison in zip(seeds, poisons, strict=True)
                ),
            ]
        trained = yield [
            Train(dataset, device, case.recipe, seed, poison, keep)
            for seed, poison, keep in zip((*seeds, *seeds), (*[None] * n, *poisons), kept, strict=True)
        ]
        clean, poisoned = trained[:n], trained[n:]
        optimizer = asdict(case.recipe.optimizer)
        details = {
            "accuracy": self.accuracy,
            "train_rows": len(dataset.train),
            "test_rows": len(dataset.test),
            "optimizer": case.recipe.optimizer.label,
            "lr": optimizer["lr"],
            "batch_size": case.recipe.batch_size,
            "epochs": case.recipe.epochs,
            "shaper": case.recipe.shaper.label,
            "budget": case.attack.budget(len(dataset.train)),
            "poison_rows": [len(poison) for poison in poisons],
            "diverged": sum(result.diverged is not None for result in (*vanilla, *clean, *poisoned)),
        }
        return Measurement(self._metrics(vanilla, clean, poisoned), details)

    def _metrics(
        self, vanilla: Sequence[TrainingResult], clean: Sequence[TrainingResult], poisoned: Sequence[TrainingResult]
    ) -> dict[str, Estimate]:
        metrics: dict[str, Estimate] = {}
        for epoch in _EPOCHS:
            plain, defended, attacked = (
                [getattr(result, f"{epoch}_accuracy") for result in results] for results in (vanilla, clean, poisoned)
            )
            values = {
                "rad": _drops(defended, attacked),
                "utility_loss": _drops(plain, defended),
                "rad_vs_vanilla": _drops(plain, attacked),
                "accuracy_vanilla": plain,
                "accuracy_clean": defended,
                "accuracy_poisoned": attacked,
            }
            for name, per_seed in values.items():
                metrics[f"{name}_{epoch}"] = mean_over_seeds(per_seed)
        chosen = {name: metrics[f"{name}_{self.accuracy}"] for name in values}
        return {**chosen, **metrics}


def _drops(references: Sequence[float], accuracies: Sequence[float]) -> list[float]:
    return [relative_accuracy_drop(r, a) for r, a in zip(references, accuracies, strict=True)]
