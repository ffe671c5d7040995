"""Two values have one name exactly if they are made of the same types and the same parts."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape import _digest


@dataclass(frozen=True)
class One:
    type: Any
    fields: Any = None


@dataclass(frozen=True)
class Two:
    type: Any
    fields: Any = None


# Few texts and numbers, so that equal values are met, and those that stand for something in names.
TEXTS = st.sampled_from(["", "1", "a", "type", "fields", "float", "dict", "list", f"{__name__}.One"])
ATOMS = st.one_of(
    *(st.none(), st.booleans(), st.integers(-2, 2), TEXTS, TEXTS.map(str.encode)),
    st.sampled_from([0.0, -0.0, 1.0, float("nan"), float("inf"), 0.1, 0.1 + 1e-17, 0.1 + 2e-17]),
    st.sampled_from([np.float32(1), np.float64(1), np.int64(1), np.zeros(1), np.zeros(()), np.zeros((1, 1))]),
    st.sampled_from([torch.zeros(1), torch.zeros(()), torch.zeros(1, dtype=torch.float64)]),
)
KEYS = st.one_of(st.none(), st.booleans(), st.integers(-1, 1), st.floats(0, 1, width=16), TEXTS)
VALUES: st.SearchStrategy[Any] = st.recursive(
    ATOMS,
    lambda inner: st.one_of(
        *(st.lists(inner, max_size=2), st.lists(inner, max_size=2).map(tuple)),
        *(st.dictionaries(KEYS, inner, max_size=2), st.frozensets(KEYS, max_size=2)),
        *(st.builds(kind, inner, inner) for kind in (One, Two)),
    ),
    max_leaves=4,
)


def exact(value: Any) -> object:
    """Return what is equal for values of the same types and parts only, unlike ``1 == True == 1.0``."""
    kind = type(value)
    match value:
        case float() if kind is float:
            return kind, value.hex()
        case np.ndarray() | np.generic():
            return kind, value.dtype, value.shape, value.tobytes()
        case torch.Tensor():
            return kind, value.dtype, value.shape, value.numpy().tobytes()
        case tuple() | list():
            return kind, tuple(map(exact, value))
        case dict():
            return kind, tuple((exact(key), exact(item)) for key, item in value.items())
        case frozenset():
            return kind, frozenset(map(exact, value))
        case One() | Two():
            return kind, exact(value.type), exact(value.fields)
    return kind, value


@given(VALUES, VALUES)
def test_names_tell_values_apart(one: object, other: object) -> None:
    assert (_digest.name(one) == _digest.name(other)) == (exact(one) == exact(other))


@settings(max_examples=30)
@given(st.lists(VALUES, min_size=20, max_size=40))
def test_many_values_have_as_many_names(values: list[object]) -> None:
    assert len(set(map(_digest.name, values))) == len(set(map(exact, values)))
