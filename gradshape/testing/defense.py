"""What every defence promises."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from gradshape.data import Dataset, PoisonedRows, Split
from gradshape.defenses import Assumptions, Defense, Suspect, rows_to_keep, trusted_rows
from gradshape.testing._datasets import blobs, plane
from gradshape.testing.promise import (
    Check,
    can_be_sent_to_a_process,
    check_reason,
    checks,
    demand,
    drawing,
    has_a_label_for_ids,
    is_a_frozen_value,
    leaves_the_randomness_of_the_process_alone,
    leaves_the_state_of_the_process_alone,
    untouched,
)
from gradshape.training import SGD, AnyRecipe, Fit, Recipe, TrainingResult, Victim, train_victims

RECIPES: tuple[AnyRecipe, ...] = (Recipe("mlp1", SGD(0.1, momentum=0.5), batch_size=7, epochs=2), Fit("ridge"))
_POISON = 4
_CLOSE = 1e-6


def check_defense(
    defense: Defense, *, dataset: Dataset | None = None, recipe: AnyRecipe | None = None, device: str = "cpu"
) -> None:
    """Check all that a defence promises.

    Args:
        defense: the defence to check.
        dataset: the data set to try it on; by default small ones of classes and of values, those that it suits.
        recipe: the recipe to defend; by default a network and a ridge regression, those that it suits.
        device: a device to train victims on besides the CPU, such as ``cuda``. Rows are filtered on the CPU.

    Raises:
        BrokenPromise: a promise is broken; the error names the promise and the value that breaks it.
        ValueError: the defence suits none of the data sets and recipes.

    >>> from gradshape.defenses import SphereFilter
    >>> check_defense(SphereFilter(0.1))
    """
    for check in defense_checks(defense, dataset=dataset, recipe=recipe, device=device):
        check()


def defense_checks(
    defense: Defense, *, dataset: Dataset | None = None, recipe: AnyRecipe | None = None, device: str = "cpu"
) -> list[Check]:
    """Return the checks of :func:`check_defense`, one a promise: for ``pytest.mark.parametrize``, with ``ids=str``.

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
    tried = [DefenseTrial(defense, *kind, device) for kind in kinds if defense.unsuitable(*kind[1:]) is None]
    if not tried:
        reasons = {name: defense.unsuitable(data, each) for name, data, each in kinds}
        raise ValueError(f"{defense!r} suits none of {reasons}: pass dataset=... and recipe=... that it is for")
    promises = PROMISES if device == "cpu" else (*PROMISES, gives_the_same_on_the_device)
    return checks(str(defense.label_for(tried[0].recipe)), promises, tried)


def datasets() -> dict[str, Dataset]:
    """Return new data sets to try defences on."""
    return {"classes": blobs(), "values": plane(rows=44)}


@dataclass(eq=False)
class DefenseTrial:
    """A defence on one data set, whose last rows count as poison."""

    defense: Defense
    name: str
    dataset: Dataset
    recipe: AnyRecipe
    device: str = "cpu"

    @property
    def values(self) -> list[Defense]:
        """The defence."""
        return [self.defense]

    def label(self, value: Defense) -> str:
        """Return the label of a defence."""
        return value.label_for(self.recipe)

    def use(self) -> Tensor | None:
        """Judge the rows."""
        return self.keep()

    def suspect(self, order: Tensor | None = None) -> Suspect:
        """Return the rows in this order, with what the defence assumes of all that one can be granted."""
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
        """Return what the defence's authors keep, before the call checks it."""
        return self.defense.keep(suspect or self.suspect(), generator=generator or torch.Generator().manual_seed(1))

    def train(self, *, device: str = "cpu", dtype: torch.dtype = torch.float32) -> TrainingResult:
        """Train a victim under the defence, on the rows that it keeps."""
        mask = torch.ones(len(self.dataset.train), dtype=torch.bool) if self.mask is None else self.mask
        victim = Victim(self.defense.shape(self.recipe), 0, removed=(~mask.bool()).nonzero().squeeze(1))
        [result] = train_victims(self.dataset, [victim], device=device, dtype=dtype)
        return result

    @cached_property
    def mask(self) -> Tensor | None:
        return self.keep()


def says_what_it_assumes(trial: DefenseTrial) -> None:
    """``assumptions`` are given, with their source."""
    assumptions = trial.defense.assumptions
    demand(isinstance(assumptions, Assumptions), f"assumptions={assumptions!r}: expected Assumptions(...)")
    demand(assumptions.source, f"assumptions.source={assumptions.source!r}: expected where it is published, or '-'")


def says_in_words_why_it_is_unsuitable(trial: DefenseTrial) -> None:
    """``unsuitable`` gives ``None`` or a reason."""
    for name, dataset in datasets().items():
        for recipe in RECIPES:
            check_reason(trial.defense.unsuitable(dataset, recipe), f"{name} with {recipe.model}")


def gives_a_recipe_for_a_recipe(trial: DefenseTrial) -> None:
    """``shape`` gives a recipe of the same kind, every time the same one."""
    shaped, again = (trial.defense.shape(trial.recipe) for _ in range(2))
    demand(type(shaped) is type(trial.recipe), f"shape() makes {shaped!r} of {trial.recipe!r}")
    demand(shaped == again, f"shape() makes {shaped!r} and {again!r} of the same recipe")


def filters_if_it_says_so(trial: DefenseTrial) -> None:
    """``filters`` says whether ``keep`` gives a mask."""
    given = "no mask" if trial.mask is None else "a mask"
    demand(
        trial.defense.filters == (trial.mask is not None),
        f"filters={trial.defense.filters}, but keep() gives {given}",
    )


def gives_one_truth_value_a_row(trial: DefenseTrial) -> None:
    """A mask is bool, one a row."""
    mask, rows = trial.mask, len(trial.dataset.train)
    if mask is not None:
        found = f"a mask of {mask.dtype} {tuple(mask.shape)} on {trial.name}: expected bool ({rows},)"
        demand(mask.dtype == torch.bool and mask.shape == (rows,), found)


def keeps_a_row_of_every_class(trial: DefenseTrial) -> None:
    """A class can still be learned, and a regression has a row."""
    mask, y = trial.mask, trial.dataset.train.y
    if mask is None:
        return
    kept = y[mask.bool()]
    demand(len(kept), f"all {len(y)} rows of {trial.name} are left out")
    gone = [] if trial.dataset.regression else sorted(set(y.tolist()) - set(kept.tolist()))
    demand(not gone, f"all rows of class {gone[0] if gone else None} of {trial.name} are left out")


def passes_the_checks_of_the_call(trial: DefenseTrial) -> None:
    """Neither ``filter``, which checks all of this, nor ``rows_to_keep``, in a thread of its own, raises an error."""
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


def judges_the_same_from_the_same_seed(trial: DefenseTrial) -> None:
    """A mask is determined by rows and seed, and no call writes to the mask of another one."""
    if trial.mask is not None:
        again = trial.keep()
        shared = again is not None and again.untyped_storage().data_ptr() == trial.mask.untyped_storage().data_ptr()
        demand(not shared, f"the mask on {trial.name} lies in the memory of the mask that an earlier call returned")
        apart = len(trial.mask) if again is None else int((again != trial.mask).sum())
        demand(not apart, f"two masks from the same seed on {trial.name} differ in {apart} rows")


def judges_rows_wherever_they_stand(trial: DefenseTrial) -> None:
    """Permuted rows get the permuted mask, unless the defence draws: where poison stands is hidden."""
    mask, drew = drawing(trial.keep, 1)
    if mask is None or drew:
        return
    for seed in range(2):
        order = torch.randperm(len(mask), generator=torch.Generator().manual_seed(seed))
        permuted = trial.keep(suspect=trial.suspect(order))
        apart = [] if permuted is None else (permuted != mask[order]).nonzero().flatten().tolist()
        demand(not apart, f"on {trial.name} the verdicts on {len(apart)} rows change with the order of the rows")


class _OtherPoison(PoisonedRows):
    """The same rows, of which as many others count as poison."""

    def is_poison(self, ids: Tensor) -> Tensor:
        return super().is_poison(ids).roll(1 + len(ids) // 2)


def learns_nothing_of_which_rows_are_poison(trial: DefenseTrial) -> None:
    """Another poison mask over the same rows changes nothing; only controls are told of it."""
    if trial.defense.assumptions.knows_poison:
        return
    train = trial.dataset.train
    poison = Split(train.x[:_POISON], train.y[:_POISON])
    first, second = (
        rows_to_keep(
            trial.defense,
            kind(train, poison),
            num_classes=trial.dataset.num_classes,
            seed=0,
            recipe=trial.recipe,
            targets=trial.dataset.test,
        )[0]
        for kind in (PoisonedRows, _OtherPoison)
    )
    apart = int((first != second).sum())
    demand(not apart, f"with another poison mask over the same rows of {trial.name} it judges {apart} rows otherwise")


def trusts_the_rows_that_it_uses(trial: DefenseTrial) -> None:
    """``trusted`` gives a mask of clean rows if it is given any, and it uses no others."""
    train = trial.dataset.train
    mask = trusted_rows(trial.defense, train, seed=0)
    known = trial.defense.assumptions.knows_clean
    demand((mask is not None) == known, f"trusted() gives {mask!r}, and assumptions.knows_clean is {known}")


def writes_nothing_to_what_it_is_shown(trial: DefenseTrial) -> None:
    """The rows, and what else it is granted, stay as they are."""
    suspect = trial.suspect()
    granted = {name: value for name, value in suspect._granted.items() if isinstance(value, Split)}
    shown = {
        f"{name}.{axis}": getattr(split, axis)
        for name, split in {"train": suspect, **granted}.items()
        for axis in ("x", "y")
    }
    with untouched(shown):
        trial.keep(suspect=suspect)


def asks_for_what_it_assumes(trial: DefenseTrial) -> None:
    """It looks at nothing that its assumptions do not grant."""
    try:
        trial.keep()
    except PermissionError as error:
        demand(False, str(error))


def leaves_something_to_train_on(trial: DefenseTrial) -> None:
    """A victim trains under the defence, and does not diverge at once."""
    diverged = trial.train().diverged
    demand(diverged is None, f"a victim under it diverged on {trial.name} in epoch {diverged}")


def gives_the_same_on_the_device(trial: DefenseTrial) -> None:
    """A victim that is trained elsewhere under the defence learns the same, up to rounding."""
    here, there = (trial.train(device=device, dtype=torch.float64) for device in ("cpu", trial.device))
    for name, value in (here.last or {}).items():
        found = (there.last or {}).get(name)
        kept = found is not None and found.device.type == "cpu"
        demand(kept, f"a victim that was trained on {trial.device} has no {name} on the CPU")
        apart = torch.inf if found is None else float((found.double() - value.double()).abs().max())
        demand(apart <= _CLOSE, f"on {trial.name}, {name} of a victim on {trial.device} differs by {apart:g}")


PROMISES: Sequence[Callable[[DefenseTrial], None]] = (
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
    learns_nothing_of_which_rows_are_poison,
    trusts_the_rows_that_it_uses,
    writes_nothing_to_what_it_is_shown,
    leaves_the_randomness_of_the_process_alone,
    leaves_the_state_of_the_process_alone,
    asks_for_what_it_assumes,
    leaves_something_to_train_on,
)
