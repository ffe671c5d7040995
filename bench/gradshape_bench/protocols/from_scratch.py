"""Train on clean data and on poisoned data, each from freshly drawn weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from gradshape.attacks import PoisonSet
from gradshape.data import Dataset
from gradshape.metrics import Estimate, mean_over_seeds
from gradshape.training import TrainingResult
from gradshape_bench.jobs import Craft, Train
from gradshape_bench.protocols import epochs
from gradshape_bench.protocols.base import Experiment, Subject, check_defense, setting_of
from gradshape_bench.protocols.filtering import filtering, finished

# By how much an objective may exceed a certified bound: what the learner that reached it leaves open.
_CERTIFICATE_TOLERANCE = 1e-3


class CertificateContradicted(Exception):
    """An attack reached more than its certificate allows: one of the two is wrong, and so is the measurement."""


@dataclass(frozen=True)
class FromScratch:
    """Poison is in the training data from the start.

    For each seed: the vanilla and the defended recipe on clean data, the attack, and the defended recipe on
    clean and poisoned data together.

    Args:
        accuracy: which epoch's test accuracy the metrics without suffix take: ``best``, as the paper's code does,
            or ``last``. Estimators have one epoch, and regression is measured by the mean squared error.

    Raises:
        ValueError: unknown ``accuracy``.

    Hong et al. 2020, section 6.2.
    """

    accuracy: str = "best"

    def __post_init__(self) -> None:
        epochs.check(self.accuracy)

    @property
    def label(self) -> str:
        return "from_scratch" if self.accuracy == "best" else f"from_scratch_{self.accuracy}"

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case.

        Raises:
            ValueError: the defence cannot be used on this data.
            CertificateContradicted: the attack reached more than its certificate allows.
        """
        check_defense(case, dataset)
        seeds, n = case.seeds, len(case.seeds)
        plain = [Train(dataset, device, case.vanilla, seed) for seed in seeds]
        crafting = [Craft.against(dataset, device, case.attack, case.recipe, seed) for seed in seeds]
        first = yield [*plain, *crafting]
        vanilla, poisons = first[:n], first[n:]
        twice, added = (*seeds, *seeds), (*[None] * n, *poisons)
        filters, kept = yield from filtering(case, dataset, device, added, twice)
        training = [
            Train(dataset, device, case.recipe, seed, poison, keep=keep)
            for seed, poison, keep in zip(twice, added, kept, strict=True)
        ]
        trained = yield training
        clean, poisoned = trained[:n], trained[n:]
        if dataset.regression:
            metrics = _errors(vanilla, clean, poisoned)
        else:
            metrics = epochs.estimates(partial(epochs.of_poison, vanilla, clean, poisoned), chosen=self.accuracy)
        metrics |= _certificate(poisons)
        details = {
            **setting_of(case, dataset, case.recipe, poisons, accuracy=self.accuracy),
            "diverged": sum(result.diverged is not None for result in (*vanilla, *clean, *poisoned)),
        }
        return finished(metrics, details, crafting=crafting, filters=filters, training=training)


def _errors(
    vanilla: Sequence[TrainingResult], clean: Sequence[TrainingResult], poisoned: Sequence[TrainingResult]
) -> dict[str, Estimate]:
    """Mean squared errors, and what poison and defence multiply them by."""
    plain, defended, attacked = ([_mse(result) for result in results] for results in (vanilla, clean, poisoned))
    values = {
        "mse_ratio": _ratios(attacked, defended),
        "mse_ratio_utility": _ratios(defended, plain),
        "mse_ratio_vs_vanilla": _ratios(attacked, plain),
        "mse_vanilla": plain,
        "mse_clean": defended,
        "mse_poisoned": attacked,
    }
    return {name: mean_over_seeds(per_seed) for name, per_seed in values.items()}


def _mse(result: TrainingResult) -> float:
    if result.mse is None:
        raise ValueError("a victim of a regression task has no mean squared error")
    return result.mse


def _ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    if min(denominators) <= 0:
        raise ValueError(f"mean squared errors {list(denominators)!r}: a ratio to 0 has no value")
    return [n / d for n, d in zip(numerators, denominators, strict=True)]


def _certificate(poisons: Sequence[PoisonSet]) -> dict[str, Estimate]:
    """The certified bound beside what was reached, where the attack knows both."""
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
