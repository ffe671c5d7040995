"""Training base models on clean data, for what follows to go on from."""

from collections.abc import Sequence
from typing import TypeVar

from gradshape.data import Split
from gradshape.training import Recipe
from gradshape_bench.protocols.base import Part
from gradshape_bench.protocols.groups import Group, Results
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.start import Base, best_of

R = TypeVar("R")


def base_models(
    lab: Lab, recipe: Recipe, beside: Group[R], *, remember: bool, watch: Sequence[Split] | None = None
) -> Part[tuple[list[Base], Results[R]]]:
    """Train a vanilla model and a base model for each seed, in one round with other jobs.

    Args:
        lab: of the experiment.
        recipe: of the base models.
        beside: jobs of the experiment that need no base.
        remember: whether what the optimizer remembers is kept for what goes on from the base models.
        watch: of each seed, test rows that its base model predicts.

    Returns:
        The base models, one a seed, and the results of ``beside``.
    """
    bases = lab.train_unfiltered(recipe, watch=watch, keep_states=True, keep_optimizer=remember)
    # Where the base is vanilla it is its own reference.
    plain = Group([]) if recipe == lab.case.vanilla else lab.train_unfiltered(lab.case.vanilla)
    results, vanilla, others = yield from lab.ask(bases, plain, beside)
    return [
        Base(seed, undefended, result, best_of(recipe, result))
        for seed, result, undefended in zip(lab.case.seeds, results, vanilla or results, strict=True)
    ], others
