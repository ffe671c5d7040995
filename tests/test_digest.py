from dataclasses import dataclass
from enum import Enum

import pytest
import torch

from gradshape import _digest
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Adam, Recipe


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Point:
    x: float
    y: object = None


@dataclass(frozen=True)
class Other:
    x: float
    y: object = None


DISTINCT: list[object] = [
    None,
    True,
    False,
    1,
    0,
    1.0,
    -0.0,
    0.0,
    "1",
    "None",
    Colour.RED,
    Colour.BLUE,
    Point(1.0),
    Point(1),
    Point(1.0, 2),
    Other(1.0),
    (),
    (1,),
    (1, 2),
    (2, 1),
    ((1,), 2),
    {},
    {"a": 1},
    {"a": 2},
    {"b": 1},
    torch.zeros(2),
    torch.zeros(2, 1),
    torch.zeros(2, dtype=torch.float64),
    torch.ones(2),
    float("inf"),
    float("nan"),
    Clip(1),
    Noise(1),
    Recipe("lr", SGD(0.1), batch_size=5, epochs=1),
    Recipe("lr", Adam(0.1), batch_size=5, epochs=1),
    Recipe("lr", SGD(0.1), batch_size=5, epochs=1, shaper=Clip(1) | Noise(1)),
]


def test_different_values_have_different_names() -> None:
    assert len({_digest.name(value) for value in DISTINCT}) == len(DISTINCT)


def test_equal_contents_have_equal_names() -> None:
    one, other = Point(0.1 + 0.2, (1, torch.ones(3))), Point(0.30000000000000004, [1, torch.ones(3)])
    assert _digest.name(one) == _digest.name(other)
    assert _digest.name({"a": 1, "b": 2}) == _digest.name({"b": 2, "a": 1})


def test_names_are_the_same_on_every_machine_and_day() -> None:
    assert _digest.name([1, "a", None]) == "b9d7fba5cc7137e777464343b98efea73bd991be06791bfd94afa5a42a86f95b"
    assert _digest.of(torch.tensor([1, 2])) == "74c2ea681e78ff912f32326e1198ef8797fadf6e2efe585f886a2b4c370c26f3"


@pytest.mark.parametrize(
    "value", [object(), {1}, lambda: 0, Point, (1, b"2"), 1j], ids=lambda value: type(value).__name__
)
def test_a_value_without_a_reliable_name_is_refused(value: object) -> None:
    with pytest.raises(TypeError, match="has no content name: use frozen dataclasses of plain values"):
        _digest.name(Point(1.0, value))


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
