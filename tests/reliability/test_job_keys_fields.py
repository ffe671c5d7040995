"""Every field of everything that a case holds is part of a name: of the case's, and of the jobs' that it can change."""

import copy
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from enum import Enum
from typing import Any

import pytest

import gradshape
from gradshape import learners, models
from gradshape.attacks import Attack, LabelFlip
from gradshape.data import load
from gradshape.defenses import Defense, GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise, Shaper
from gradshape.training import SGD, Fit, Recipe
from gradshape_bench.case import Case, ExpectedFailure, Scale, Smoke, Task
from gradshape_bench.jobs import Craft, Filter, Train
from gradshape_bench.matrix import all_cases
from gradshape_bench.protocols import FromScratch
from gradshape_bench.verdict import Threshold
from tests.attacks.attacks import ATTACKS
from tests.bench.test_matrix import suite_matrices
from tests.defenses.test_contract import DEFENSES
from tests.library_classes import classes_of
from tests.shaping.parts import PARTS

MOONS = load("two_moons")
RECIPE = Recipe("lr", SGD(0.1), batch_size=50, epochs=2)
FIT = Fit("svm_linear", c=1.0)

# Fields of a case that no training of its defended recipe depends on at smoke scale, and why.
DO_NOT_MATTER = {
    "attack.fraction": "an attack has a job of its own; trainings know its poison by the rows",
    "attack.feasible_quantile": "the same",
    "seeds": "each has a job of its own",
    "thresholds": "they are asserted on the results",
    "utility": "it is a bound on the results",
    "expected_failure.reason": "it is asserted on the results",
    "expected_failure.source": "the same",
    "protocol.accuracy": "it is what is read from the results",
    "task.dataset": "the rows are part of the key, not their name",
    "task.variant": "it is a name for people",
    "task.surrogate": "it is what attackers are told",
    "task.smoke.train_rows": "the rows are part of the key",
    "task.smoke.test_rows": "the rows are part of the key",
    "task.recipe.epochs": "the smoke scale has its own",
}


def others(value: Any) -> Iterator[object]:
    """Yield values that are other than ``value``, of the same type if it has any."""
    match value:
        case bool():
            yield not value
        case Enum():
            yield from (member for member in type(value) if member is not value)
        case int():
            yield from (value + 1, value - 1)
        case float():
            # One that differs by as little as can be.
            yield from {math.nextafter(value, 0.5), math.nextafter(value, 0.0)} - {value}
        case str():
            # A recipe names a model that exists.
            known = next((names for names in (models.names(), learners.names()) if value in names), [f"{value}_"])
            yield next(name for name in known if name != value)
        case tuple():
            yield from (value[:-1] if value else (1,), (*value, *(value[:1] or (2,))))
            yield from (
                (*value[:place], other, *value[place + 1 :])
                for place, item in enumerate(value)
                for other in changed_or_other(item)
            )
        case None:
            yield from (1, 0.5, "other", (1,))
        case _:
            yield None


def changed_or_other(value: Any) -> Iterator[object]:
    if is_dataclass(value):
        yield from (changed for _, changed in changes(value))
    else:
        yield from others(value)


def changes(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield copies of a dataclass of which one field is other, wherever it is nested, with the path of the field."""
    for field in fields(value):
        own = getattr(value, field.name)
        found = changes(own) if is_dataclass(own) else (("", other) for other in others(own))
        yield from (
            (".".join(filter(None, (field.name, path))), with_field(value, field.name, new)) for path, new in found
        )


def with_field(value: Any, name: str, new: object) -> Any:
    try:
        return replace(value, **{name: new})
    except Exception:
        # It is no valid one: the name of what is held must differ all the same.
        changed = copy.copy(value)
        object.__setattr__(changed, name, new)
        return changed


def check(values: Iterable[Any], key: Callable[[Any], str]) -> None:
    for value in values:
        before = key(value)
        for path, changed in changes(value):
            assert key(changed) != before, f"{path} of {value!r} does not count: {changed!r}"


@dataclass(frozen=True)
class Suites:
    """What the suites declare, each once."""

    cases: list[Case]

    def distinct(self, part: Callable[[Case], Any]) -> list[Any]:
        return list(dict.fromkeys(part(case) for case in self.cases))


@pytest.fixture(scope="module")
def suites() -> Suites:
    matrices = list(suite_matrices())
    return Suites([case for scale in Scale for case in all_cases(matrices, scale, (0, 1))])


def craft_key(attack: Attack) -> str:
    return Craft(MOONS, "cpu", attack, recipe=RECIPE, seed=0).key


def filter_key(defense: Defense) -> str:
    return Filter(MOONS, "cpu", defense, recipe=RECIPE, poison=None, seed=0).key


def train_key(recipe: Recipe | Fit) -> str:
    return Train(MOONS, "cpu", recipe, seed=0).key


def test_poison_depends_on_every_field_of_an_attack(suites: Suites) -> None:
    check([*suites.distinct(lambda case: case.attack), *ATTACKS], craft_key)


def test_kept_rows_depend_on_every_field_of_a_defence(suites: Suites) -> None:
    check([*suites.distinct(lambda case: case.defense), *DEFENSES], filter_key)


def test_trainings_depend_on_every_field_of_a_recipe(suites: Suites) -> None:
    check([*suites.distinct(lambda case: case.task.recipe), *suites.distinct(lambda case: case.recipe)], train_key)


def test_trainings_and_poison_depend_on_every_field_of_a_shaper() -> None:
    shaped = [RECIPE.with_shaper(Shaper((part,))) for part in PARTS]
    check(shaped, train_key)
    check(shaped, lambda recipe: Craft(MOONS, "cpu", LabelFlip(0.1), recipe=recipe, seed=0).key)
    check(shaped, lambda recipe: Filter(MOONS, "cpu", NoDefense(), recipe=recipe, poison=None, seed=0).key)


def test_trainings_depend_on_what_a_defence_makes_of_the_recipe(suites: Suites) -> None:
    shaping = [defense for defense in suites.distinct(lambda case: case.defense) if not defense.filters]
    recipes = [defense.shape(RECIPE) for defense in shaping]
    assert len({train_key(recipe) for recipe in recipes}) == len(set(recipes)) > 5


def test_a_cases_fingerprint_depends_on_every_field(suites: Suites) -> None:
    tasks = suites.distinct(lambda case: case.task)
    protocols = suites.distinct(lambda case: case.protocol)
    failures = suites.distinct(lambda case: case.expected_failure)
    first = suites.cases[0]
    cases = [
        *(replace(first, task=task) for task in tasks),
        *(replace(first, protocol=protocol) for protocol in protocols),
        *(replace(first, expected_failure=failure) for failure in failures),
    ]
    check(cases, lambda case: case.fingerprint)


def test_cases_of_the_suites_have_fingerprints_of_their_own(suites: Suites) -> None:
    assert len({case.fingerprint for case in suites.cases}) == len(suites.cases)


def test_only_what_is_listed_does_not_matter_to_a_training() -> None:
    task = Task("two_moons", RECIPE, Smoke(train_rows=100, test_rows=50, epochs=3))
    failure = ExpectedFailure("weak", "here")
    defense = GradientShaping(Clip(1) | Noise(0.1))
    threshold = Threshold("rad", "<", 0.1)
    case = Case(
        task,
        LabelFlip(0.1),
        defense,
        scale=Scale.SMOKE,
        seeds=(0,),
        thresholds=(threshold,),
        protocol=FromScratch(),
        expected_failure=failure,
    )
    before = train_key(case.recipe)

    def is_same(changed: Case) -> bool:
        try:
            return train_key(changed.recipe) == before
        except (TypeError, ValueError):  # It is no valid case.
            return False

    assert {path for path, changed in changes(case) if is_same(changed)} == set(DO_NOT_MATTER)


@pytest.mark.parametrize("kind", [Attack, Defense], ids=["attack", "defence"])
def test_every_class_of_the_library_is_looked_at(kind: type) -> None:
    looked_at = {type(value) for value in (*ATTACKS, *DEFENSES)}
    made = {found for found in classes_of(gradshape) if issubclass(found, kind) and is_dataclass(found)}
    ours = {found for found in made if not found.__abstractmethods__ and ".testing" not in found.__module__}
    assert ours - looked_at == set()
