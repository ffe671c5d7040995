"""What every defence promises."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradshape.data import Dataset, PoisonedRows, Split
from gradshape.defenses import Assumptions, Defense, Suspect, rows_to_keep
from gradshape.testing._datasets import blobs, plane
from gradshape.testing.promise import (
    Check,
    check_label,
    check_reason,
    check_sent,
    check_value,
    checks,
    demand,
    drawing,
    untouched,
    untouched_randomness,
    untouched_state,
)
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, Victim, train_victims

RECIPES: tuple[AnyRecipe, ...] = (Recipe("mlp1", SGD(0.1, momentum=0.5), batch_size=7, epochs=2), Fit("ridge"))
_POISON = 4


def check_defense(defense: Defense, *, dataset: Dataset | None = None, recipe: AnyRecipe | None = None) -> None:
    """Check all that a defence promises.

    Args:
        defense: yours.
        dataset: what it is tried on; small ones of classes and of values if omitted, as far as it suits them.
        recipe: what it defends; a network and a ridge regression if omitted, as far as it suits them.

    Raises:
        BrokenPromise: which promise is broken, and by which value.
        ValueError: it suits no such data set and recipe.

    >>> from gradshape.defenses import SphereFilter
    >>> check_defense(SphereFilter(0.1))
    """
    for check in defense_checks(defense, dataset=dataset, recipe=recipe):
        check()


def defense_checks(defense: Defense, *, dataset: Dataset | None = None, recipe: AnyRecipe | None = None) -> list[Check]:
    """The checks of :func:`check_defense`, one a promise: for ``pytest.mark.parametrize``, with ``ids=str``.

    >>> from gradshape.defenses import SphereFilter
    >>> [str(check) for check in defense_checks(SphereFilter(0.1))][7:10]
    ['gives-one-truth-value-a-row', 'keeps-a-row-of-every-class', 'passes-the-checks-of-the-call']
    """
    given = datasets() if dataset is None else {dataset.name: dataset}
    recipes = RECIPES if recipe is None else (recipe,)
    kinds = [
        (name, data, each)
        for name, data in given.items()
        for each in recipes
        # A network is no regression, and a ridge regression is nothing else.
        if recipe is not None or isinstance(each, Fit) == data.regression
    ]
    tried = [DefenseTrial(defense, *kind) for kind in kinds if defense.unsuitable(*kind[1:]) is None]
    if not tried:
        reasons = {name: defense.unsuitable(data, each) for name, data, each in kinds}
        raise ValueError(f"{defense!r} suits none of {reasons}: pass dataset=... and recipe=... that it is for")
    return checks(str(defense.label_for(tried[0].recipe)), PROMISES, tried)


def datasets() -> dict[str, Dataset]:
    """What defences are tried on, anew."""
    return {"classes": blobs(), "values": plane(rows=44)}


@dataclass(eq=False)
class DefenseTrial:
    """A defence on one data set, the last rows of which are poison for once."""

    defense: Defense
    name: str
    dataset: Dataset
    recipe: AnyRecipe

    def suspect(self, order: Tensor | None = None) -> Suspect:
        """The rows in this order, with all that a defence can be granted; of it, what this one assumes."""
        train = self.dataset.train
        rows = torch.arange(len(train)) if order is None else order
        return Suspect(
            train.x[rows],
            train.y[rows],
            num_classes=self.dataset.num_classes,
            assumptions=self.defense.assumptions,
            recipe=self.recipe,
            clean=Split(train.x.clone(), train.y.clone()),
            targets=Split(self.dataset.test.x[:2].clone(), self.dataset.test.y[:2].clone()),
            budget=_POISON,
            poison=rows >= len(train) - _POISON,
        )

    def keep(self, generator: torch.Generator | None = None, *, suspect: Suspect | None = None) -> Tensor | None:
        """What the defence's authors keep, before it is checked by the call."""
        return self.defense.keep(suspect or self.suspect(), generator=generator or torch.Generator().manual_seed(1))

    @cached_property
    def mask(self) -> Tensor | None:
        return self.keep()


Trials = Sequence[DefenseTrial]


def has_a_label_for_ids(trials: Trials) -> None:
    """``label_for`` gives what can stand in a test id; equal defences have equal ones."""
    for trial in trials:
        check_label(lambda each, recipe=trial.recipe: each.label_for(recipe), trial.defense)  # type: ignore[misc]


def is_a_frozen_value(trials: Trials) -> None:
    """Defences are compared and hashed by value, and cannot be changed."""
    check_value(trials[0].defense)


def can_be_sent_to_a_process(trials: Trials) -> None:
    """What another process receives is equal."""
    check_sent(trials[0].defense)


def says_what_it_assumes(trials: Trials) -> None:
    """``assumptions`` are given, with their source."""
    assumptions = trials[0].defense.assumptions
    demand(isinstance(assumptions, Assumptions), f"assumptions={assumptions!r}: expected Assumptions(...)")
    demand(assumptions.source, f"assumptions.source={assumptions.source!r}: expected where it is published, or '-'")


def says_in_words_why_it_is_unsuitable(trials: Trials) -> None:
    """``unsuitable`` gives ``None`` or a reason."""
    for name, dataset in datasets().items():
        for recipe in RECIPES:
            check_reason(trials[0].defense.unsuitable(dataset, recipe), f"{name} with {recipe.model}")


def gives_a_recipe_for_a_recipe(trials: Trials) -> None:
    """``shape`` gives a recipe of the same kind, every time the same one."""
    for trial in trials:
        shaped, again = (trial.defense.shape(trial.recipe) for _ in range(2))
        demand(type(shaped) is type(trial.recipe), f"shape() makes {shaped!r} of {trial.recipe!r}")
        demand(shaped == again, f"shape() makes {shaped!r} and {again!r} of the same recipe")


def filters_if_it_says_so(trials: Trials) -> None:
    """``filters`` says whether ``keep`` gives a mask."""
    for trial in trials:
        given = "no mask" if trial.mask is None else "a mask"
        demand(
            trial.defense.filters == (trial.mask is not None),
            f"filters={trial.defense.filters}, but keep() gives {given}",
        )


def gives_one_truth_value_a_row(trials: Trials) -> None:
    """A mask is bool, one a row."""
    for trial in trials:
        mask, rows = trial.mask, len(trial.dataset.train)
        if mask is not None:
            found = f"a mask of {mask.dtype} {tuple(mask.shape)} on {trial.name}: expected bool ({rows},)"
            demand(mask.dtype == torch.bool and mask.shape == (rows,), found)


def keeps_a_row_of_every_class(trials: Trials) -> None:
    """A class can still be learned, and a regression has a row."""
    for trial in trials:
        mask, y = trial.mask, trial.dataset.train.y
        if mask is None:
            continue
        kept = y[mask.bool()]
        demand(len(kept), f"all {len(y)} rows of {trial.name} are left out")
        gone = [] if trial.dataset.regression else sorted(set(y.tolist()) - set(kept.tolist()))
        demand(not gone, f"all rows of class {gone[0] if gone else None} of {trial.name} are left out")


def passes_the_checks_of_the_call(trials: Trials) -> None:
    """``filter``, which checks all of this, raises nothing, and neither does the harness, in a thread of its own."""
    for trial in trials:
        train = trial.dataset.train
        trial.defense.filter(trial.suspect(), generator=torch.Generator().manual_seed(1))
        rows_to_keep(
            trial.defense,
            PoisonedRows(train, Split(train.x[:_POISON], train.y[:_POISON])),
            num_classes=trial.dataset.num_classes,
            seed=0,
            recipe=trial.recipe,
            targets=trial.dataset.test,
        )


def judges_the_same_from_the_same_seed(trials: Trials) -> None:
    """A mask is determined by rows and seed."""
    for trial in trials:
        if trial.mask is not None:
            again = trial.keep()
            apart = len(trial.mask) if again is None else int((again != trial.mask).sum())
            demand(not apart, f"two masks from the same seed on {trial.name} differ in {apart} rows")


def judges_rows_wherever_they_stand(trials: Trials) -> None:
    """Permuted rows get the permuted mask, unless the defence draws: where poison stands is hidden."""
    for trial in trials:
        mask, drew = drawing(trial.keep, 1)
        if mask is None or drew:
            continue
        for seed in range(2):
            order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
            permuted = trial.keep(suspect=trial.suspect(order))
            apart = [] if permuted is None else (permuted != mask[order]).nonzero().flatten().tolist()
            demand(not apart, f"on {trial.name} the verdicts on {len(apart)} rows change with the order of the rows")


def writes_nothing_to_what_it_is_shown(trials: Trials) -> None:
    """The rows, and what else it is granted, stay as they are."""
    for trial in trials:
        suspect = trial.suspect()
        granted = {name: value for name, value in suspect._granted.items() if isinstance(value, Split)}
        shown = {
            f"{name}.{axis}": getattr(split, axis)
            for name, split in {"train": suspect, **granted}.items()
            for axis in ("x", "y")
        }
        with untouched(shown):
            trial.keep(suspect=suspect)


def leaves_the_randomness_of_the_process_alone(trials: Trials) -> None:
    """All randomness comes from the generator."""
    for trial in trials:
        with untouched_randomness():
            trial.keep()


def leaves_the_state_of_the_process_alone(trials: Trials) -> None:
    """Torch's default dtype, number of threads and the like are as before."""
    for trial in trials:
        with untouched_state():
            trial.keep()


def asks_for_what_it_assumes(trials: Trials) -> None:
    """It looks at nothing that its assumptions do not grant."""
    for trial in trials:
        try:
            trial.keep()
        except PermissionError as error:
            demand(False, str(error))


def leaves_something_to_train_on(trials: Trials) -> None:
    """A victim trains under the defence, and does not diverge at once."""
    for trial in trials:
        mask = torch.ones(len(trial.dataset.train), dtype=torch.bool) if trial.mask is None else trial.mask
        removed = (~mask.bool()).nonzero().squeeze(1)
        [result] = train_victims(trial.dataset, [Victim(trial.defense.shape(trial.recipe), 0, removed=removed)])
        demand(result.diverged is None, f"a victim under it diverged on {trial.name} in epoch {result.diverged}")


PROMISES = (
    has_a_label_for_ids,
    is_a_frozen_value,
    can_be_sent_to_a_process,
    says_what_it_assumes,
    says_in_words_why_it_is_unsuitable,
    gives_a_recipe_for_a_recipe,
    filters_if_it_says_so,
    gives_one_truth_value_a_row,
    keeps_a_row_of_every_class,
    passes_the_checks_of_the_call,
    judges_the_same_from_the_same_seed,
    judges_rows_wherever_they_stand,
    writes_nothing_to_what_it_is_shown,
    leaves_the_randomness_of_the_process_alone,
    leaves_the_state_of_the_process_alone,
    asks_for_what_it_assumes,
    leaves_something_to_train_on,
)
