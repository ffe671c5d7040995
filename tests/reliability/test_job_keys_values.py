"""A job's key differs if a value does that a component's code holds, though no text differs."""

import functools
import logging
import operator
import re
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from datetime import date
from decimal import Decimal
from fractions import Fraction
from functools import cached_property, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, TypeVar

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.stats import norm
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from torch import nn

from gradshape import learners, models
from gradshape.attacks import LabelFlip
from gradshape.data import load
from gradshape.defenses import GradientShaping
from gradshape.learners import Penalty, SmoothedHinge
from gradshape.shaping import Reweight
from gradshape.training import SGD, Fit, Recipe
from gradshape_bench.job_names import code_digest
from gradshape_bench.jobs import Craft
from tests.reliability.closing_over import Plain, closing_over
from tests.reliability.user_project import imported

MOONS = load("two_moons")
RECIPE = Recipe("lr", SGD(0.1), batch_size=50, epochs=1)


@dataclass(frozen=True)
class Holding(LabelFlip):
    """Holds anything in a field."""

    held: Any = None


@dataclass(frozen=True)
class Initial(LabelFlip):
    """Keeps a part of what it was made with."""

    scale: InitVar[float] = 1.0

    def __post_init__(self, scale: float) -> None:
        beside(self, [scale])


def beside(component: Any, value: object) -> Any:
    object.__setattr__(component, "_kept", value)
    return component


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


def wrapping(factor: Any) -> Any:
    return torch.no_grad()(functools.cache(multiplied(factor)))


def iterated(value: float) -> Iterator[float]:
    yield value


class Decorated:
    """A decorator with a setting."""

    def __init__(self, fn: Callable[..., Any], setting: float) -> None:
        functools.update_wrapper(self, fn)  # type: ignore[arg-type]
        self.setting = setting


class Renamed:
    """Says of itself what it likes."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __reduce__(self) -> Any:
        return Renamed, (self.value,)


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
    "decorator": lambda value: closing_over(Decorated(multiplied, value)),
    "reduced": lambda value: closing_over(Renamed(value)),
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
    "attribute": lambda value: beside(Holding(0.1), value),
    "object in an attribute": lambda value: beside(Holding(0.1), {"a": [Plain(value)]}),
    "function in an attribute": lambda value: beside(Holding(0.1), multiplied(value)),
    "component in an attribute": lambda value: beside(Holding(0.1), (closing_over(value),)),
    "network in an attribute": lambda value: beside(Holding(0.1), weighted(value)),
    "attribute of a field": lambda value: Holding(0.1, held=(beside(Holding(0.1), value),)),
    "initial value": lambda value: Initial(0.1, scale=value),
}


def key(component: Any) -> str:
    attack = component if isinstance(component, LabelFlip) else Holding(0.1, held=component)
    return Craft(MOONS, "cpu", attack, recipe=None, seed=0).key


@pytest.mark.parametrize("holder", HOLDERS.values(), ids=HOLDERS)
def test_key_changes_with_the_value(holder: Callable[[float], Any]) -> None:
    assert key(holder(1.0)) == key(holder(1.0)) != key(holder(2.0))


@pytest.fixture
def _registries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUILDERS", dict(models._BUILDERS))
    monkeypatch.setattr(learners.registry, "_LEARNERS", dict(learners.registry._LEARNERS))


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
        learners.registry._LEARNERS.pop("own", None)
        learners.register("own", lambda seed, p=2: KNeighborsClassifier(neighbours, p=p))
        return key(Fit("own", p=1))

    assert named(1) == named(1) != named(2)


@pytest.mark.usefixtures("_registries")
@pytest.mark.parametrize("stated", ["penalty", "loss"])
def test_key_changes_with_what_is_stated_of_a_registered_learner(stated: str) -> None:
    def named(value: float) -> str:
        learners.registry._LEARNERS.pop("own", None)
        both: dict[str, Any] = {"penalty": lambda _, rows: Penalty(l2=value / rows), "loss": SmoothedHinge(value)}
        learners.register("own", lambda seed: KNeighborsClassifier(3), **{stated: both[stated]})
        return key(Fit("own"))

    assert named(1.0) == named(1.0) != named(2.0)


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
    assert code_digest.code_of(holder, None).reliable


# What user's code often holds; every one has the same name when it is made again.
USUAL: dict[str, Callable[[], object]] = {
    "logger": lambda: logging.getLogger("own"),
    "pattern": lambda: re.compile("a+", re.IGNORECASE),
    "path": lambda: Path("some/where"),
    "module": lambda: logging,
    "sentinel": object,
    "types": lambda: (list[int], int | None, Callable[[int], str], TypeVar("T"), type(None), ...),
    "collections": lambda: (deque([1]), defaultdict(list, a=[1]), Counter("aab"), SimpleNamespace(a=1), range(3)),
    "numbers": lambda: (Decimal("0.1"), Fraction(1, 3), date(2020, 1, 2), slice(1, 2), operator.itemgetter(1)),
    "numpy": lambda: (np.exp, np.linalg.norm, np.dtype("f4"), np.vectorize(multiplied(2.0)), np.random.default_rng(0)),
    "torch": lambda: (torch.float32, torch.device("cpu"), torch.exp, nn.functional.relu, torch.optim.Adam),
    "transformed": lambda: (torch.func.vmap(multiplied(2.0)), torch.no_grad()(multiplied(3.0)), torch.no_grad()),
    "layers": lambda: alike(nn.LSTM(2, 2), nn.MultiheadAttention(2, 1), nn.Sequential(nn.BatchNorm2d(2), nn.GELU())),
    "parametrized": lambda: alike(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))),
    "hooked": lambda: hooked(nn.Linear(2, 2)),
    "scikit-learn": lambda: make_pipeline(PCA(2), RandomForestClassifier(3, random_state=0)),
    "scipy": lambda: (csr_matrix(np.eye(3)), minimize, norm(0, 1)),
    "decorated": lambda: (
        functools.cache(multiplied),
        functools.singledispatch(multiplied),
        contextmanager(iterated),
    ),
}


def alike(*networks: nn.Module) -> list[nn.Module]:
    for network in networks:
        for parameter in network.parameters():
            nn.init.constant_(parameter, 0.5)
    return list(networks)


def hooked(network: nn.Module) -> list[nn.Module]:
    network.register_forward_hook(lambda *arguments: None)
    network.register_forward_pre_hook(lambda *arguments: None, with_kwargs=True)
    return alike(network)


@pytest.mark.parametrize("make", USUAL.values(), ids=USUAL)
def test_what_is_usual_has_a_reliable_name(make: Callable[[], object]) -> None:
    # An unreliable one is random.
    assert key(closing_over(make())) == key(closing_over(make()))


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
