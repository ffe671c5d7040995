"""A job's key differs if a value does that a component's code holds, though no text differs."""

import functools
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch import nn

from gradshape import learners, models
from gradshape.attacks import LabelFlip
from gradshape.data import load
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Reweight
from gradshape.training import SGD, Fit, Recipe
from gradshape_bench import code_digest
from gradshape_bench.cache import Cache
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.jobs import Craft
from gradshape_bench.schedule import Scheduler
from tests.bench.spy import Spy
from tests.reliability.user_project import imported

MOONS = load("two_moons")
RECIPE = Recipe("lr", SGD(0.1), batch_size=50, epochs=1)


@dataclass(frozen=True)
class Holding(LabelFlip):
    """Holds anything in a field."""

    held: Any = None


class Plain:
    def __init__(self, value: object) -> None:
        self.value = value


def closing_over(held: object) -> Any:
    """An attack of a class that closes over a value."""

    @dataclass(frozen=True)
    class Local(LabelFlip):
        def craft(self, *arguments: Any, **named: Any) -> Any:
            assert held is not None
            return super().craft(*arguments, **named)

    return Local(0.1)


def with_default(value: object) -> Any:
    @dataclass(frozen=True)
    class Local(LabelFlip):
        def helps(self, x: Any, scale: Any = value) -> Any:
            return x, scale

    return Local(0.1)


def with_constant(value: object) -> Any:
    return type("Local", (LabelFlip,), {"CONSTANT": value, "__module__": __name__})(0.1)


def with_base(value: object) -> Any:
    base = type("Base", (LabelFlip,), {"CONSTANT": value, "__module__": __name__})
    return type("Local", (base,), {"__module__": __name__})(0.1)


def with_property(value: object) -> Any:
    own = property(lambda self: value)
    cached = cached_property(lambda self: value)
    return type("Local", (LabelFlip,), {"own": own, "cached": cached, "__module__": __name__})(0.1)


def multiplied(factor: float) -> Callable[[Any], Any]:
    return lambda x: x * factor


@functools.wraps(multiplied)
def wrapping(factor: Any) -> Any:
    return torch.no_grad()(functools.cache(multiplied(factor)))


def weighted(value: float) -> nn.Module:
    layer = nn.Linear(2, 2)
    nn.init.constant_(layer.weight, value)
    nn.init.zeros_(layer.bias)
    return layer


def shaped(value: float) -> Any:
    return GradientShaping(Reweight(lambda norms: norms * value, "own"))


# From a value to what holds it; every one has another name for another value.
HOLDERS: dict[str, Callable[[float], Any]] = {
    "closure": closing_over,
    "default": with_default,
    "class constant": with_constant,
    "constant of a base": with_base,
    "property": with_property,
    "object": lambda value: closing_over(Plain(value)),
    "object in an object": lambda value: closing_over([Plain({"a": Plain(value)})]),
    "function": lambda value: closing_over(multiplied(value)),
    "wrapped function": lambda value: closing_over(wrapping(value)),
    "partial": lambda value: closing_over(partial(multiplied, value)),
    "method": lambda value: closing_over(Plain(value).__init__),  # type: ignore[misc]
    "class": lambda value: closing_over(type(with_constant(value))),
    "array": lambda value: closing_over(np.array([value])),
    "tensor": lambda value: closing_over(torch.tensor([value])),
    "generator": lambda value: closing_over(np.random.default_rng(int(value))),
    "network": lambda value: closing_over(weighted(value)),
    "dropout of a network": lambda value: closing_over(nn.Sequential(nn.Dropout(value / 10))),
    "learner": lambda value: closing_over(KNeighborsClassifier(int(value))),
    "field": lambda value: Holding(0.1, held=value),
    "function in a field": lambda value: Holding(0.1, held=(multiplied(value),)),
    "component in a field": lambda value: Holding(0.1, held={"a": [closing_over(value)]}),
    "class in a field": lambda value: Holding(0.1, held=type(with_constant(value))),
    "partial in a field": lambda value: Holding(0.1, held=partial(closing_over, value)),
    "method in a field": lambda value: Holding(0.1, held=closing_over(value).craft),
    "shaper": shaped,
}


def key(component: Any) -> str:
    attack = component if isinstance(component, LabelFlip) else Holding(0.1, held=component)
    return Craft(MOONS, "cpu", attack, None, 0).key


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_key_changes_with_the_value(holder: Callable[[float], Any]) -> None:
    assert key(holder(1.0)) == key(holder(1.0)) != key(holder(2.0))


@pytest.fixture
def _registries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUILDERS", dict(models._BUILDERS))
    monkeypatch.setattr(learners.registry, "_FACTORIES", dict(learners.registry._FACTORIES))


BUILDERS: dict[str, Callable[[float], Any]] = {
    "closure": lambda value: lambda shape, classes: nn.Sequential(nn.Dropout(value / 10), nn.Linear(2, 2)),
    "partial": lambda value: partial(lambda shape, classes, p: nn.Sequential(nn.Dropout(p)), p=value / 10),
    "weights": lambda value: lambda shape, classes: nn.Sequential(weighted(value).requires_grad_(False)),
    "frozen": lambda value: lambda shape, classes: weighted(1.0).requires_grad_(value > 1),
    "refusing": lambda value: lambda shape, classes: 1 / 0 if value else 0,
}


@pytest.mark.usefixtures("_registries")
@pytest.mark.parametrize("builder", BUILDERS.values(), ids=BUILDERS)
def test_key_changes_with_a_registered_model(builder: Callable[[float], Any]) -> None:
    def named(value: float) -> str:
        models._BUILDERS.pop("own", None)
        models.register("own", builder(value))
        return key(Recipe("own", SGD(0.1), batch_size=5, epochs=1))

    assert named(1.0) == named(1.0) != named(2.0)


@pytest.mark.usefixtures("_registries")
def test_key_changes_with_a_registered_learner() -> None:
    def named(neighbours: int) -> str:
        learners.registry._FACTORIES.pop("own", None)
        learners.register("own", lambda seed, p=2: KNeighborsClassifier(neighbours, p=p))
        return key(Fit("own", p=1))

    assert named(1) == named(1) != named(2)


SETTINGS = {
    "global": "import os\nVALUE = float(os.environ['VALUE'])\n",
    "imported": "from settings import VALUE\n",
    "of a module": "import settings\n",
}


@pytest.mark.parametrize(("text", "name"), [*zip(SETTINGS.values(), ("VALUE", "VALUE", "settings.VALUE"), strict=True)])
def test_key_changes_with_what_a_module_finds_out(tmp_path: Path, text: str, name: str) -> None:
    own = (
        f"{text}from gradshape.attacks import LabelFlip\n\n"
        f"class Own(LabelFlip):\n    def craft(self, *a, **n):\n        return {name}\n"
    )
    found = []
    for number, value in enumerate("112"):
        files = {"own.py": own, "settings.py": SETTINGS["global"]}
        with imported(tmp_path / str(number), files, "own", VALUE=value) as module:
            found.append(key(module.Own(0.1)))
    assert found[0] == found[1] != found[2]


def test_a_class_may_refer_to_itself() -> None:
    @dataclass(frozen=True)
    class Local(LabelFlip):
        def craft(self, *arguments: Any, **named: Any) -> Any:
            assert isinstance(self, Local)
            return super().craft(*arguments, **named)

    holder: list[Any] = [Local(0.1)]
    holder.append(holder[0])
    assert key(Local(0.1)) == key(Local(0.1))
    assert code_digest.of(holder, None).reliable


def circular() -> list[object]:
    circle: list[object] = []
    circle.append(circle)
    return circle


# What has no reliable name.
NAMELESS: dict[str, Callable[[], object]] = {
    "lock": threading.Lock,
    "generator": lambda: (x for x in (1, 2)),
    "set of objects": lambda: {Plain(1), Plain(2)},
    "meta tensor": lambda: torch.zeros(2, device="meta"),
    "circle": circular,
}


@pytest.mark.parametrize("make", NAMELESS.values(), ids=NAMELESS)
def test_what_has_no_reliable_name_is_warned_of_once(make: Callable[[], object]) -> None:
    attack = closing_over(make())
    jobs = [Craft(MOONS, "cpu", attack, None, seed) for seed in (0, 0, 1)]
    with pytest.warns(UserWarning, match="without the cache") as caught:
        found = [job.key for job in jobs]
    assert found[0] == found[1] != found[2]
    assert not any(job.repeatable for job in jobs)
    (message,) = (str(warning.message) for warning in caught)
    assert "closing_over.<locals>.Local is computed in every session anew, without the cache: " in message


def test_the_warning_names_the_object_and_is_no_error() -> None:
    attack = closing_over(threading.Lock())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("error")
        assert not Craft(MOONS, "cpu", attack, None, 0).repeatable
    assert "Local.craft uses held=<unlocked _thread.lock object" in str(caught[0].message)


class Failing:
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    def __reduce__(self) -> str:
        raise RuntimeError("no state")


def test_an_object_that_cannot_even_be_printed_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="of type Failing has no reliable name"):
        assert not Craft(MOONS, "cpu", closing_over(Failing()), None, 0).repeatable


def test_what_has_no_reliable_name_is_computed_and_not_kept(tmp_path: Path) -> None:
    attack = closing_over(threading.Lock())
    case = Case(Task("two_moons", RECIPE), attack, NoDefense(), Scale.SMOKE, (0,))
    plain = Case(Task("two_moons", RECIPE), LabelFlip(0.1), NoDefense(), Scale.SMOKE, (0,))
    with pytest.warns(UserWarning, match="without the cache"):
        measured = Scheduler([case], cache=Cache(tmp_path / "one"), engine=Spy()).measure(case)
    other = Scheduler([plain], cache=Cache(tmp_path / "other"), engine=Spy()).measure(plain)
    assert measured.measurement.metrics == other.measurement.metrics

    def kept(name: str) -> int:
        return sum(path.is_file() for path in (tmp_path / name).rglob("*") if "locks" not in path.parts)

    # The poison is not kept; the trainings are, which know it by its rows.
    assert kept("one") == kept("other") - 1


def test_what_a_property_remembers_does_not_count() -> None:
    @dataclass(frozen=True)
    class Local(LabelFlip):
        many: tuple[int, ...] = field(default=(1, 2))

        @cached_property
        def doubled(self) -> Callable[[int], int]:
            return lambda x: 2 * x

    attack, other = Local(0.1), Local(0.1)
    assert attack.doubled(1) == 2
    assert key(attack) == key(other)
