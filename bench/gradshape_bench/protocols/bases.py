"""Base models: trained on clean data, and trained further by what follows."""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from gradshape.data import Dataset, Split
from gradshape.training import Recipe, TrainedModel, TrainingResult
from gradshape_bench.jobs import AnyJob, Train
from gradshape_bench.protocols.base import Subject
from gradshape_bench.protocols.start import Retrained, descent

_T = TypeVar("_T")
Part = Generator[Sequence[AnyJob], Sequence[Any], _T]


@dataclass(frozen=True, eq=False)
class Base:
    """A base model of one seed.

    Attributes:
        seed: of the case.
        vanilla: a model trained by the vanilla recipe: what the defended base is compared with.
        result: the base's training. Its best optimizer's state is there if the second training is to remember it.
        model: its best state, with the recipe that it was trained by.
    """

    seed: int
    vanilla: TrainingResult
    result: TrainingResult
    model: TrainedModel

    @property
    def accuracy(self) -> float:
        """Test accuracy of the best state, which is what is trained further."""
        return self.result.best_accuracy


def recipes_of(case: Subject, start: Retrained, what: str) -> tuple[Recipe, Recipe]:
    """The recipes of the base models and of what goes on from them.

    Args:
        case: whose recipes.
        start: which of them.
        what: what needs gradients, for the message.

    Raises:
        ValueError: a recipe is fitted by an estimator, or the second training is to remember what the first one has
            not.
    """
    return start.recipes(descent(case.vanilla, what), descent(case.recipe, what))


def base_models(
    case: Subject,
    dataset: Dataset,
    device: str,
    start: Retrained,
    *,
    what: str,
    watch: Sequence[Split] | None = None,
    beside: Sequence[AnyJob] = (),
) -> Part[tuple[list[Base], Sequence[Any]]]:
    """The part of an experiment that trains a vanilla model and a base model for each seed, in one round.

    Args:
        case, dataset, device: of the experiment.
        start: by whose recipe the base is trained.
        what: what needs gradients, for the message.
        watch: of each seed, test rows that its base model predicts.
        beside: jobs of the experiment that need no base.

    Returns:
        The bases, and the results of ``beside``.

    Raises:
        ValueError: as :func:`recipes_of`.
    """
    first, _ = recipes_of(case, start, what)
    seeds, n = case.seeds, len(case.seeds)
    watched = [None] * n if watch is None else watch
    training = [
        Train(dataset, device, first, seed, watch=rows, keep_states=True, keep_optimizer=start.remembers)
        for seed, rows in zip(seeds, watched, strict=True)
    ]
    # Where the base is vanilla it is its own reference.
    plain = [] if first == case.vanilla else [Train(dataset, device, case.vanilla, seed) for seed in seeds]
    done = yield [*training, *plain, *beside]
    results = done[:n]
    vanilla = done[n : n + len(plain)] or results
    bases = [
        Base(seed, undefended, result, best_of(first, result))
        for seed, result, undefended in zip(seeds, results, vanilla, strict=True)
    ]
    return bases, done[n + len(plain) :]


def best_of(recipe: Recipe, result: TrainingResult) -> TrainedModel:
    """The state after the epoch with the best test accuracy."""
    assert result.best is not None
    return TrainedModel(recipe, result.best)
