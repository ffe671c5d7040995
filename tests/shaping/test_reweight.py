"""Functions as parts, and how they are named."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor

from gradshape import _digest
from gradshape.shaping import Clip, Reweight

SCALE = 2.0
TABLE = {"a": 1.0}
SOMETHING = object()


def _by(factor: object) -> Callable[[Tensor], Tensor]:
    def fn(norms: Tensor) -> Tensor:
        return norms * factor  # type: ignore[operator]

    return fn


def _helper(norms: Tensor) -> Tensor:
    return norms / SCALE


def _with_default(norms: Tensor, *, power: float = 2.0) -> Tensor:
    return norms**power


def _recursive(norms: Tensor, depth: int = 2) -> Tensor:
    return norms if depth == 0 else _recursive(norms / 2, depth - 1)


FUNCTIONS: list[Callable[[Tensor], Tensor]] = [
    lambda norms: norms,
    lambda norms: norms / 2,
    lambda norms: norms / 3,
    lambda norms: torch.exp(-norms),
    lambda norms: torch.exp2(-norms),
    lambda norms: norms * SCALE,
    lambda norms: norms * TABLE["a"],
    lambda norms: _helper(norms),
    lambda norms: norms * (math.pi if len(norms) in {1, 2} else 1.0),
    _helper,
    _with_default,
    _recursive,
    _by(1.0),
    _by(2.0),
    _by((1.0, 2.0)),
]


def test_other_functions_have_other_names() -> None:
    parts = [Reweight(fn, "same") for fn in FUNCTIONS]
    assert len({_digest.name(part) for part in parts}) == len(set(parts)) == len(FUNCTIONS)


@pytest.mark.parametrize("fn", [_by(2.0), _helper, _with_default, _recursive], ids=lambda fn: fn.__name__)
def test_the_same_function_has_the_same_name(fn: Callable[[Tensor], Tensor]) -> None:
    assert _digest.name(Reweight(fn, "a")) == _digest.name(Reweight(fn, "a"))


def test_functions_that_close_over_equal_values_are_equal_parts() -> None:
    assert Reweight(_by(2.0), "a") == Reweight(_by(2.0), "a")
    assert hash(Reweight(_by(2.0), "a")) == hash(Reweight(_by(2.0), "a"))


def test_settings_are_part_of_the_name() -> None:
    parts = {Reweight(_helper, "a"), Reweight(_helper, "b"), Reweight(_helper, "a", samplewise=True)}
    assert len({_digest.name(part) for part in parts}) == 3


def test_what_the_module_holds_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Reweight(_helper, "a")
    monkeypatch.setitem(_helper.__globals__, "SCALE", 3.0)
    assert Reweight(_helper, "a") != before


def test_defaults_count(monkeypatch: pytest.MonkeyPatch) -> None:
    before = Reweight(_with_default, "a")
    monkeypatch.setattr(_with_default, "__kwdefaults__", {"power": 3.0})
    assert Reweight(_with_default, "a") != before


@pytest.mark.parametrize(
    ("fn", "message"),
    [
        (_by(SOMETHING), "uses factor=<object.*has no content name"),
        (lambda norms: norms * SOMETHING, "uses SOMETHING="),
        (torch.exp, "expected a plain function"),
        (partial(_with_default, power=3.0), "expected a plain function"),
        (Clip(1.0), "expected a plain function"),
    ],
    ids=["closure", "global", "builtin", "partial", "part"],
)
def test_a_function_without_a_reliable_name_is_refused(fn: Callable[[Tensor], Tensor], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Reweight(fn, "a")


@pytest.mark.parametrize("label", ["", "a b", "a=1", "a/b"])
def test_a_label_has_plain_characters(label: str) -> None:
    with pytest.raises(ValueError, match="label="):
        Reweight(_helper, label)


def test_weights_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match=r"returned shape \(\): expected one weight a norm, shape \(3,\)"):
        Reweight(lambda norms: norms.sum(), "sum").weights(torch.ones(3))
