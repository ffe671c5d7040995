"""What an experiment is: a generator that yields jobs and receives their results."""

from collections.abc import Generator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any
from typing import Protocol as Interface

from gradshape.attacks import Attack, PoisonSet
from gradshape.data import Dataset
from gradshape.defenses import Defense
from gradshape.metrics import Estimate
from gradshape.training import AnyRecipe, Recipe
from gradshape_bench.jobs import AnyJob


@dataclass(frozen=True)
class Measurement:
    """What an experiment found.

    Attributes:
        metrics: by name.
        details: realised settings worth recording, as plain values.
        timed: jobs by what they did: the mean computing time of each group goes into the record.
    """

    metrics: Mapping[str, Estimate]
    details: Mapping[str, Any]
    timed: Mapping[str, Sequence[AnyJob]] = field(default_factory=dict)


Experiment = Generator[Sequence[AnyJob], Sequence[Any], Measurement]


class Subject(Interface):
    """What an experiment needs to know of its case."""

    @property
    def attack(self) -> Attack: ...

    @property
    def defense(self) -> Defense: ...

    @property
    def vanilla(self) -> AnyRecipe: ...

    @property
    def recipe(self) -> AnyRecipe: ...

    @property
    def seeds(self) -> tuple[int, ...]: ...


class Protocol(Interface):
    """A frozen dataclass with these members. ``run`` is written straight down the page: it yields a list of jobs, gets
    back their results in the same order, and may yield again, knowing them. Scheduling, sharing and caching are not
    its business.
    """

    @property
    def label(self) -> str:
        """Name for ids and records."""
        ...

    def run(self, case: Subject, dataset: Dataset, device: str) -> Experiment:
        """The experiment of one case."""
        ...


def check_defense(case: Subject, dataset: Dataset) -> None:
    """Raise ``ValueError`` if the case's defence cannot be used on ``dataset``."""
    reason = case.defense.unsuitable(dataset, case.vanilla)
    if reason is not None:
        raise ValueError(f"{case.defense.label(case.vanilla)} cannot be used on {dataset.name}: {reason}")


def check_no_attack(case: Subject, dataset: Dataset, protocol: str) -> None:
    """Raise ``ValueError`` if the case has an attack."""
    if case.attack.budget(len(dataset.train)):
        raise ValueError(f"attack {case.attack.label!r}: {protocol} trains on clean data only: expected NoAttack()")


def setting_of(
    case: Subject, dataset: Dataset, recipe: AnyRecipe, poisons: Sequence[PoisonSet], *, accuracy: str
) -> dict[str, Any]:
    """What every experiment with poison records of how it was made, as plain values.

    Args:
        case, dataset: of the experiment.
        recipe: of the poisoned trainings.
        poisons: one a seed.
        accuracy: which epoch's test accuracy the metrics without suffix take.
    """
    return {
        "accuracy": accuracy,
        "train_rows": len(dataset.train),
        "test_rows": len(dataset.test),
        **setup_of(recipe),
        "budget": case.attack.budget(len(dataset.train)),
        "poison_rows": [len(poison) for poison in poisons],
    }


def setup_of(recipe: AnyRecipe) -> dict[str, Any]:
    """How a recipe trains, as plain values for records.

    >>> from gradshape.training import Fit
    >>> setup_of(Fit("svm_linear", c=1.0))
    {'estimator': 'svm_linear(c=1.0)', 'epochs': 1}
    """
    if not isinstance(recipe, Recipe):
        settings = ", ".join(f"{name}={value!r}" for name, value in recipe.settings)
        return {"estimator": f"{recipe.model}({settings})", "epochs": 1}
    return {
        "optimizer": recipe.optimizer.label,
        "lr": asdict(recipe.optimizer)["lr"],
        "batch_size": recipe.batch_size,
        "epochs": recipe.epochs,
        "shaper": recipe.shaper.label,
    }
