import dataclasses
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import KW_ONLY, InitVar, dataclass, make_dataclass
from enum import Enum, IntEnum
from functools import cached_property, partial
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import nn

import gradshape
from gradshape import _digest
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Adam, Recipe
from tests.library_classes import classes_of


class Colour(Enum):
    RED = 1
    BLUE = 2


class Number(IntEnum):
    ONE = 1


class Pair(NamedTuple):
    left: int
    right: int


@dataclass(frozen=True)
class Point:
    x: float
    y: object = None

    def shifted(self, by: float) -> float:
        return self.x + by


@dataclass(frozen=True)
class Other:
    x: float
    y: object = None


class Slots:
    __slots__ = ("s",)


@dataclass(frozen=True, slots=True)
class Slotted(Slots):
    x: float


@dataclass(frozen=True)
class Scaled:
    """Keeps a setting that is no field."""

    x: float
    _: KW_ONLY
    scale: InitVar[float]

    def __post_init__(self, scale: float) -> None:
        beside(self, _scales=[scale])


def beside(instance: Any, **attributes: object) -> Any:
    for name, value in attributes.items():
        object.__setattr__(instance, name, value)
    return instance


class Tagged(np.ndarray[Any, Any]):
    """An array with an attribute."""

    def __new__(cls, rows: list[list[int]], tag: int = 0) -> "Tagged":
        made = np.array(rows).view(cls)
        made.tag = tag
        return made

    tag: int


def tagged(tag: int) -> torch.Tensor:
    return beside(torch.zeros(2), tag=tag)  # type: ignore[no-any-return]


# A field called as the class was in names once.
Typed = make_dataclass("Typed", ["type", "x"], frozen=True)
Kinds = make_dataclass("Kinds", ["type", "x"], frozen=True)


def scaled(factor: float) -> Callable[[float], float]:
    return lambda x: x * factor


def tried(x: float) -> float:
    try:
        return 1 / x
    except ZeroDivisionError:
        return 0.0


def caught(x: float) -> float:
    try:
        return 1 / x
    except ValueError:
        return 0.0


DISTINCT: list[object] = [
    *(None, True, False, 1, 0, 2**70, 1.0, -0.0, 0.0, "1", "None", b"1", b"", 1j, complex(0.0, -0.0)),
    *(float("inf"), float("nan"), math.nextafter(1.0, 2.0)),
    *(Colour.RED, Colour.BLUE, Number.ONE),
    *(Point(1.0), Point(1), Point(1.0, 2), Other(1.0)),
    *(Typed("a", 1), Kinds("a", 1), Typed("tests.test_digest.Kinds", 1), Kinds("tests.test_digest.Typed", 1)),
    *((), (1,), (1, 2), (2, 1), ((1,), 2), (1, (2,)), [], [1], [1, 2], [(1, 2)], Pair(1, 2)),
    *({}, {"a": 1}, {"a": 2}, {"b": 1}, {1: 1}, {"1": 1}, {True: 1}, {1.0: 1}, {None: 1}, {"None": 1}),
    *({"float": "0x1.0000000000000p+0"}, {"tensor": _digest.of(torch.zeros(2))}, {"x": 1.0, "y": None}),
    *({"a": 1, "b": 2}, {"b": 2, "a": 1}, OrderedDict(a=1, b=2), OrderedDict(b=2, a=1)),
    *(MappingProxyType({"a": 1, "b": 2}), MappingProxyType({"b": 2, "a": 1})),
    *(set(), {1}, {1, 2}, frozenset(), frozenset({1}), MappingProxyType({"a": 1}), OrderedDict(a=1)),
    *(torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, dtype=torch.float64), torch.ones(2)),
    *(torch.zeros(()), torch.zeros(1), torch.zeros(2, dtype=torch.bfloat16), torch.zeros(2, dtype=torch.int16)),
    *(np.zeros(2), np.zeros((2, 1)), np.zeros(2, dtype="f4"), np.ones(2), np.zeros(()), np.zeros(1)),
    *(
        np.array([[1, 2]]).view(np.matrix),
        np.array([[1, 2]]),
        np.array([[1, 2]]).view(np.recarray),
        Tagged([[1, 2]]),
        Tagged([[1, 2]], 1),
    ),
    *(np.ma.array([1, 999999], mask=mask) for mask in ([False, True], [False, False])),
    *(np.ma.array([1, 2], mask=[False, True], **of) for of in ({}, {"fill_value": 3}, {"hard_mask": True})),
    *(
        torch.Size((1, 2)),
        torch.Size(()),
        nn.Parameter(torch.zeros(2)),
        nn.Parameter(torch.zeros(2), requires_grad=False),
    ),
    *(torch.zeros(2, requires_grad=True), nn.Buffer(torch.zeros(2)), tagged(1), tagged(2)),
    *(
        beside(Point(1.0), s=5),
        beside(Point(1.0), s=6),
        beside(Point(1.0), t=5),
        beside(Slotted(1.0), s=5),
        Slotted(1.0),
    ),
    *(Scaled(2.0, scale=1.0), Scaled(2.0, scale=3.0)),
    *(np.float64(1), np.float32(1), np.int64(1), np.True_, np.str_("1")),
    *(Point, Other, int, float, math.exp, torch.exp, len, "a".join, "b".join),
    *(scaled(1.0), scaled(2.0), lambda x: x, lambda x: x + 1, lambda x, y=1: x, lambda x, y=2: x),
    *(lambda x, y: x, lambda x, *, y: x, tried, caught, dataclasses.field, dataclasses.fields),
    *(contextmanager(lambda: iter([1])), contextmanager(lambda: iter([2]))),
    *(partial(math.pow, 2.0), partial(math.pow, 3.0), partial(scaled, 2.0), partial(scaled, factor=2.0)),
    *(Point(1.0).shifted, Point(2.0).shifted, Point.shifted),
    *(Clip(1), Noise(1), Recipe("lr", SGD(0.1), batch_size=5, epochs=1)),
    Recipe("lr", Adam(0.1), batch_size=5, epochs=1),
    Recipe("lr", SGD(0.1), batch_size=5, epochs=1, shaper=Clip(1) | Noise(1)),
]


def test_different_values_have_different_names() -> None:
    named: dict[str, object] = {}
    for value in DISTINCT:
        found = named.setdefault(_digest.name(value), value)
        assert found is value, f"{found!r} and {value!r} have one name"


def test_what_is_nested_counts() -> None:
    assert len({_digest.name(Point(1.0, (value,))) for value in DISTINCT}) == len(DISTINCT)
    assert len({_digest.name({"a": [value]}) for value in DISTINCT}) == len(DISTINCT)


def test_equal_contents_have_equal_names() -> None:
    one, other = (Point(0.1 + 0.2, (1, torch.ones(3), {"b", "a"})) for _ in "ab")
    assert _digest.name(one) == _digest.name(dataclasses.replace(other, x=0.30000000000000004))
    assert _digest.name({"a": 1, "b": 2}) == _digest.name({"a": 1} | {"b": 2})
    assert _digest.name({"a", "b", "c"}) == _digest.name({"c", "b", "a"})
    assert _digest.name(scaled(2.0)) == _digest.name(scaled(2.0))
    assert _digest.name(np.arange(6).reshape(2, 3).T) == _digest.name(np.arange(6).reshape(2, 3).T.copy())


def test_names_are_the_same_on_every_machine_and_day() -> None:
    assert _digest.name((1, "a", None)) == "b9d7fba5cc7137e777464343b98efea73bd991be06791bfd94afa5a42a86f95b"
    assert _digest.of(torch.tensor([1, 2])) == "74c2ea681e78ff912f32326e1198ef8797fadf6e2efe585f886a2b4c370c26f3"


@pytest.mark.parametrize(
    "value",
    [
        object(),
        (1, threading.Lock()),
        {"a": object()},
        {object()},
        np.array([None]),
        iter(()),
        type("Text", (str,), {}),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_without_a_reliable_name_is_refused(value: object) -> None:
    value = value("text") if isinstance(value, type) else value
    with pytest.raises(TypeError, match="has no content name: use frozen dataclasses of plain values"):
        _digest.name(Point(1.0, value))


def test_only_fields_have_to_have_names() -> None:
    locked = [beside(Point(1.0), lock=threading.Lock()) for _ in "ab"]
    assert _digest.name(locked[0]) == _digest.name(locked[1]) != _digest.name(Point(1.0))
    itself: Any = Point(1.0)
    assert _digest.name(beside(itself, of=itself)) != _digest.name(Point(1.0))


def test_what_a_property_remembers_is_in_no_name() -> None:
    class Remembers(Point):
        @cached_property
        def twice(self) -> float:
            return 2 * self.x

    one, other = Remembers(1.0), Remembers(1.0)
    assert one.twice == 2
    assert _digest.name(one) == _digest.name(other)


def test_how_a_masked_array_was_looked_at_is_not_in_its_name() -> None:
    one, other = (np.ma.array([1, 2], mask=[False, True]) for _ in "ab")
    assert one.fill_value == 999999
    assert repr(one)
    assert _digest.name(one) == _digest.name(other)


def test_a_refusal_says_where_the_value_is() -> None:
    with pytest.raises(TypeError, match=r"^Point\.y=<object object at .*> of type object has no content name"):
        _digest.name({"a": [Point(1.0, object())]})
    with pytest.raises(TypeError, match=r"^scaled.<locals>.<lambda> uses factor=<object object"):
        _digest.name(scaled(object()))  # type: ignore[arg-type]


def test_classes_of_the_library_may_move_within_it() -> None:
    assert _digest.class_name(Clip) == "gradshape.Clip"
    assert _digest.class_name(Point) == f"{__name__}.Point"


def test_names_of_the_librarys_classes_are_unique() -> None:
    held = [kind for kind in classes_of(gradshape) if dataclasses.is_dataclass(kind) or issubclass(kind, Enum)]
    assert len({_digest.class_name(kind) for kind in held}) == len(held) > 100


def test_the_hash_of_tensors_is_of_their_contents_not_their_layout() -> None:
    matrix = torch.arange(6).view(2, 3)
    assert _digest.of(matrix.T) == _digest.of(matrix.T.contiguous())
    assert _digest.of(matrix) != _digest.of(matrix.T.contiguous())


@pytest.mark.parametrize(
    "changed", [torch.tensor([1.0, 2.5]), torch.tensor([[1.0, 2.0]]), torch.tensor([1.0, 2.0], dtype=torch.float64)]
)
def test_values_shape_and_dtype_count(changed: torch.Tensor) -> None:
    assert _digest.of(changed) != _digest.of(torch.tensor([1.0, 2.0]))


def test_the_order_and_the_division_of_tensors_count() -> None:
    one, other = torch.tensor([1]), torch.tensor([2])
    assert len({_digest.of(one, other), _digest.of(other, one), _digest.of(torch.cat([one, other]))}) == 3
