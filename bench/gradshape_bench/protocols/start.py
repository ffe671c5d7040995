"""What a training with poison begins with: fresh weights, or a base model that was trained on clean data."""

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import Enum
from typing import Any, Generic, TypeVar

from gradshape import _validate
from gradshape.data import Split
from gradshape.training import AnyRecipe, Optimizer, Recipe, TrainingResult
from gradshape_bench.protocols.base import Part, Subject
from gradshape_bench.protocols.base_models import Base, best_of, by_gradients, lacks_gradients
from gradshape_bench.protocols.groups import Group, Results
from gradshape_bench.protocols.lab import Lab

R = TypeVar("R")


@dataclass(frozen=True, eq=False)
class Beginning(Generic[R]):
    """What has been done before the training with poison.

    Attributes:
        clean: trainings on clean data by the recipe that was asked for, one a seed.
        beside: results of what was asked for beside them.
        bases: what the training with poison goes on from, one a seed; ``None`` for fresh weights.
        details: what is worth recording of the base models, as plain values.
    """

    clean: Sequence[TrainingResult]
    beside: Results[R]
    bases: Sequence[Base] | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Scratch:
    """Training begins with freshly drawn weights, and has the poison from its first step."""

    @property
    def label(self) -> str:
        return ""

    def refuses(self, recipe: AnyRecipe, what: str) -> str | None:
        """Return ``None``: every recipe can begin afresh."""
        return None

    def recipes(self, case: Subject, what: str) -> tuple[AnyRecipe, AnyRecipe]:
        """Return the recipes of the training on clean data and of the one with poison: the defended one, twice."""
        return case.recipe, case.recipe

    def begin(self, lab: Lab, beside: Group[R], *, clean: AnyRecipe) -> Part[Beginning[R]]:
        """Train on clean data, in one round with other jobs.

        Args:
            lab: of the experiment.
            beside: jobs that need no base model.
            clean: recipe of these trainings.
        """
        trained, others = yield from lab.ask(lab.train_unfiltered(clean), beside)
        return Beginning(trained, others)


class By(Enum):
    """Whose recipe a model is trained by."""

    VANILLA = "vanilla"
    DEFENDED = "defended"


@dataclass(frozen=True)
class Retrained:
    """A base model is trained on clean data first, and its best state is trained further with the poison.

    Args:
        epochs: of the second training.
        optimizer: of the second training; that of the recipe it is by, if ``None``.
        base: by whose recipe the base model is trained.
        again: by whose recipe it is trained further.
        remembers: whether the second training goes on with what the optimizer remembered at the best epoch, as in the
            paper's code, or begins with a fresh one. Only where both trainings have the same optimizer.

    Raises:
        ValueError: ``epochs`` is not positive.

    Hong et al. 2020, section 6.5 and Table 3, combine the two recipes.

    >>> Retrained().label, Retrained(base=By.DEFENDED, again=By.VANILLA, remembers=True).label
    ('_retrained', '_defended_to_vanilla_remembering')
    """

    epochs: int = 20
    _: KW_ONLY
    optimizer: Optimizer | None = None
    base: By = By.VANILLA
    again: By = By.DEFENDED
    remembers: bool = False

    def __post_init__(self) -> None:
        _validate.positive_int(epochs=self.epochs)

    @property
    def label(self) -> str:
        how = "retrained"
        if (self.base, self.again) != (By.VANILLA, By.DEFENDED):
            how = f"{self.base.value}_to_{self.again.value}"
        return f"_{how}{'_remembering' if self.remembers else ''}"

    def refuses(self, recipe: AnyRecipe, what: str) -> str | None:
        """Return why ``what`` cannot be done with ``recipe``: nothing goes on from what an estimator has fitted."""
        return lacks_gradients(recipe, what)

    def recipes(self, case: Subject, what: str) -> tuple[Recipe, Recipe]:
        """Return the recipes of the base model and of the training that goes on from it.

        Args:
            case: whose recipes.
            what: what needs gradients, for the message.

        Raises:
            ValueError: a recipe is fitted by an estimator, or the second training is to remember, and has another kind
                of optimizer.
        """
        recipes = {By.VANILLA: by_gradients(case.vanilla, what), By.DEFENDED: by_gradients(case.recipe, what)}
        first, again = recipes[self.base], recipes[self.again]
        second = replace(again, epochs=self.epochs, optimizer=self.optimizer or again.optimizer)
        if self.remembers and type(first.optimizer) is not type(second.optimizer):
            raise ValueError(
                f"remembers=True: the base model is trained by {first.optimizer!r}, which remembers nothing that "
                f"{second.optimizer!r} could go on with: expected the same kind of optimizer"
            )
        return first, second

    def begin(self, lab: Lab, beside: Group[R], *, clean: AnyRecipe) -> Part[Beginning[R]]:
        """Train base models, in one round with other jobs.

        Args:
            lab: of the experiment.
            beside: jobs that need no base model.
            clean: the vanilla recipe or that of the base models: whose trainings are given back.
        """
        bases, others = yield from self.base_models(lab, beside)
        trained = [base.vanilla if clean == lab.case.vanilla else base.result for base in bases]
        return Beginning(trained, others, bases, {"clean_epochs": bases[0].model.recipe.epochs})

    def base_models(
        self, lab: Lab, beside: Group[R], *, watch: Sequence[Split] | None = None
    ) -> Part[tuple[list[Base], Results[R]]]:
        """Train a vanilla model and a base model for each seed, in one round with other jobs.

        Args:
            lab: of the experiment.
            beside: jobs that need no base model.
            watch: of each seed, test rows that its base model predicts.

        Returns:
            The base models, one a seed, and the results of ``beside``.
        """
        recipe, _ = self.recipes(lab.case, "re-training")
        bases = lab.train_unfiltered(recipe, watch=watch, keep_states=True, keep_optimizer=self.remembers)
        # Where the base is vanilla it is its own reference.
        plain = Group([]) if recipe == lab.case.vanilla else lab.train_unfiltered(lab.case.vanilla)
        results, vanilla, others = yield from lab.ask(bases, plain, beside)
        return [
            Base(seed, undefended, result, best_of(lab.dataset, recipe, result))
            for seed, result, undefended in zip(lab.case.seeds, results, vanilla or results, strict=True)
        ], others
