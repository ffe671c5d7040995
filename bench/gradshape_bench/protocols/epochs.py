"""Which epoch's model is measured: the best one, as in the paper's code, or the last."""

from collections.abc import Callable, Mapping, Sequence

from gradshape import _validate
from gradshape.metrics import Estimate, mean_over_seeds, relative_accuracy_drop
from gradshape.training import TrainingResult

EPOCHS = ("best", "last")


def check(accuracy: str) -> None:
    """Raise ``ValueError`` unless ``accuracy`` is one of :data:`EPOCHS`."""
    if accuracy not in EPOCHS:
        raise _validate.unknown("accuracy", accuracy, EPOCHS)


def estimates(values: Callable[[str], Mapping[str, Sequence[float]]], *, chosen: str) -> dict[str, Estimate]:
    """Means over the seeds: by the chosen epoch, and by either of them with a suffix that says which.

    Args:
        values: of an epoch, by name: one value a seed.
        chosen: one of :data:`EPOCHS`.

    >>> found = estimates(lambda epoch: {"rad": [0.1 if epoch == "best" else 0.3]}, chosen="last")
    >>> {name: estimate.value for name, estimate in found.items()}
    {'rad': 0.3, 'rad_best': 0.1, 'rad_last': 0.3}
    """
    found = {epoch: {name: mean_over_seeds(each) for name, each in values(epoch).items()} for epoch in EPOCHS}
    suffixed = {f"{name}_{epoch}": estimate for epoch in EPOCHS for name, estimate in found[epoch].items()}
    return found[chosen] | suffixed


def accuracies(results: Sequence[TrainingResult], epoch: str) -> list[float]:
    """Test accuracy of each training after its best or last epoch."""
    return [result.best_accuracy if epoch == "best" else result.last_accuracy for result in results]


def drops(references: Sequence[float], values: Sequence[float]) -> list[float]:
    """Relative accuracy drops, seed by seed."""
    return [relative_accuracy_drop(reference, value) for reference, value in zip(references, values, strict=True)]


def of_poison(
    vanilla: Sequence[TrainingResult], clean: Sequence[TrainingResult], poisoned: Sequence[TrainingResult], epoch: str
) -> dict[str, list[float]]:
    """What poison and defence did to the accuracy.

    Args:
        vanilla: trained on clean data without the defence, one a seed.
        clean: with it.
        poisoned: with it and with the poison.
        epoch: one of :data:`EPOCHS`.
    """
    plain, defended, attacked = (accuracies(results, epoch) for results in (vanilla, clean, poisoned))
    return {
        "rad": drops(defended, attacked),
        "utility_loss": drops(plain, defended),
        "rad_vs_vanilla": drops(plain, attacked),
        "accuracy_vanilla": plain,
        "accuracy_clean": defended,
        "accuracy_poisoned": attacked,
    }


def of_defense(
    vanilla: Sequence[TrainingResult], defended: Sequence[TrainingResult], epoch: str
) -> dict[str, list[float]]:
    """What a defence costs: of trainings on clean data without and with it, one a seed."""
    plain, shaped = accuracies(vanilla, epoch), accuracies(defended, epoch)
    return {"utility_loss": drops(plain, shaped), "accuracy_vanilla": plain, "accuracy_clean": shaped}
