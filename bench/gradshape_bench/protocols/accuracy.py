"""Which epoch's model is measured."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum

from gradshape.metrics import Estimate, mean_over_seeds, share_over_seeds
from gradshape.training import TrainingResult

# How the names of metrics begin that are shares of rows.
SHARES = ("accuracy_", "backdoor_rate", "train_accuracy")


class Accuracy(Enum):
    """Which epoch's model is measured: the one with the best test accuracy, as in the paper's code, or the last one."""

    BEST = "best"
    LAST = "last"

    @property
    def suffix(self) -> str:
        """What the label of a protocol that measures this epoch ends with; nothing for the best one."""
        return "" if self is Accuracy.BEST else f"_{self.value}"

    def of_each(self, results: Iterable[TrainingResult]) -> list[float]:
        """Return each training's test accuracy after this epoch."""
        return [result.best_accuracy if self is Accuracy.BEST else result.last_accuracy for result in results]

    def estimates(
        self, values: Callable[["Accuracy"], Mapping[str, Sequence[float]]], *, rows: int | None = None
    ) -> dict[str, Estimate]:
        """Return means over the seeds: of this epoch by their names, and of either epoch with its name as suffix.

        Args:
            values: gives what is measured after an epoch, by name, one value a seed.
            rows: as for :func:`estimates`.

        >>> found = Accuracy.LAST.estimates(lambda epoch: {"rad": [0.1 if epoch is Accuracy.BEST else 0.3]})
        >>> {name: estimate.value for name, estimate in found.items()}
        {'rad': 0.3, 'rad_best': 0.1, 'rad_last': 0.3}
        """
        found = {epoch: estimates(values(epoch), rows=rows) for epoch in Accuracy}
        suffixed = {f"{name}_{epoch.value}": value for epoch in Accuracy for name, value in found[epoch].items()}
        return found[self] | suffixed


def estimates(values: Mapping[str, Sequence[float]], *, rows: int | None = None) -> dict[str, Estimate]:
    """Return means over the seeds; those of accuracies and back door rates have intervals within [0, 1].

    Args:
        values: by name of the metric, one value a seed.
        rows: how many rows each of the shares is of, if they are a sample of rows.
    """
    return {
        name: share_over_seeds(each, rows=rows) if name.startswith(SHARES) else mean_over_seeds(each)
        for name, each in values.items()
    }
