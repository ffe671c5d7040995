"""Whether two things of a user's own are the same."""

import copy
import functools
import importlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gradshape._sameness import same, snapshot


class Trainer:
    def __init__(self, c: float) -> None:
        self.c = c

    def run(self, rows: Any, seed: int) -> float:
        return self.c

    @classmethod
    def small(cls) -> str:
        return cls.__name__


class Other(Trainer):
    pass


class Slotted:
    __slots__ = ("c",)

    def __init__(self, c: float) -> None:
        self.c = c


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.first, self.last = nn.Linear(3, 3), nn.Linear(3, 3)
        self.register_buffer("scale", torch.ones(1), persistent=False)
        self.sizes, self.act = [1, 2], torch.tanh
        with torch.no_grad():
            for p in self.parameters():
                p.copy_(torch.randn(p.shape, generator=generator))


def closure(c: float) -> Callable[[], float]:
    def train() -> float:
        return c

    return train


def wrapped(c: float) -> Callable[[], float]:
    def base() -> float:
        return 1.0

    @functools.wraps(base)
    def train() -> float:
        return base() * c

    return train


def with_default(c: float) -> Callable[..., float]:
    def train(c: float = c) -> float:
        return c

    return train


def made(c: float) -> type:
    return type("Made", (Trainer,), {"run": lambda self: c})


def with_lock(c: float) -> Trainer:
    trainer = Trainer(c)
    trainer.lock = threading.Lock()  # type: ignore[attr-defined]
    return trainer


MADE: dict[str, Callable[[float], object]] = {
    "method": lambda c: Trainer(c).run,
    "object": Trainer,
    "slots": Slotted,
    "closure": closure,
    "wrapped": wrapped,
    "default": with_default,
    "class": made,
    "lock": with_lock,
    "partial": lambda c: functools.partial(closure, c),
    "partial-by-name": lambda c: functools.partial(closure, c=c),
    "dict": lambda c: {"c": [c]},
    "tuple": lambda c: (Trainer(c),),
    "set": lambda c: {c},
    "array": lambda c: np.array([c, np.nan]),
    "array-of-objects": lambda c: np.array([Trainer(c)], dtype=object),
    "tensor": lambda c: torch.tensor([c, torch.nan]),
    "sparse": lambda c: torch.tensor([[0.0, c]]).to_sparse(),
    "property": lambda c: property(lambda _: c),
    "static": lambda c: staticmethod(closure(c)),
    "generator": lambda c: np.random.default_rng(int(c)),
}


@pytest.mark.parametrize("make", MADE.values(), ids=MADE)
def test_what_is_made_of_the_same_is_the_same_and_no_other(make: Callable[[float], object]) -> None:
    assert same(make(1.0), make(1.0))
    assert not same(make(1.0), make(2.0))


def test_a_method_of_another_class_is_another() -> None:
    assert same(Trainer.small, Trainer.small)
    assert not same(Trainer.small, Other.small)
    assert not same(Trainer(1.0), Other(1.0))


def _frozen(net: Net) -> None:
    net.last.requires_grad_(False)


def _evaluating(net: Net) -> None:
    net.first.eval()


def _tied(net: Net) -> None:
    net.last.weight = net.first.weight


def _other_function(net: Net) -> None:
    net.act = torch.sigmoid


def _other_list(net: Net) -> None:
    net.sizes = [1, 3]


def _other_buffer(net: Net) -> None:
    net.scale = torch.zeros(1)


def _hooked(net: Net) -> None:
    net.first.register_forward_hook(lambda *_: None)


def _other_type(net: Net) -> None:
    net.last.weight.data = net.last.weight.data.double()


def _one_more(net: Net) -> None:
    net.more = nn.Identity()


@pytest.mark.parametrize(
    "change", [_frozen, _evaluating, _other_function, _other_list, _other_buffer, _hooked, _other_type, _one_more]
)
def test_networks_are_told_apart_by_all_that_they_are(change: Callable[[Net], None]) -> None:
    one, other = Net(), Net()
    assert same(one, other)
    assert same(one, copy.deepcopy(one))
    change(other)
    assert not same(one, other)


def test_networks_are_told_apart_by_what_is_shared_within_them() -> None:
    one, other = Net(), Net()
    with torch.no_grad():
        for net in (one, other):
            net.last.weight.copy_(net.first.weight)
    assert same(one, other)
    _tied(other)
    assert not same(one, other)
    assert not same(other, one)
    again = copy.deepcopy(other)
    assert same(other, again)


def test_what_holds_itself_is_compared() -> None:
    def ring(c: float) -> list[object]:
        found: list[object] = [c]
        found.append(found)
        return found

    assert same(ring(1.0), ring(1.0))
    assert not same(ring(1.0), ring(2.0))


def test_what_cannot_be_looked_into_is_not_taken_to_be_the_same() -> None:
    generators = [(n for n in range(3)) for _ in range(2)]
    assert same(generators[0], generators[0])
    assert not same(*generators)


@pytest.mark.parametrize(
    ("text", "again", "equal"),
    [
        ("C = 1\ndef train():\n    return C\n", "# A remark.\nC = 1\ndef train():\n    return C\n", True),
        ("C = 1\ndef train():\n    return C\n", "C = 2\ndef train():\n    return C\n", False),
        ("def two():\n    return 2\ndef train():\n    return two()\n", None, True),
        ("class train:\n    def run(self):\n        return train\n", None, True),
        ("class train:\n    run = 1\n", "class train:\n    run = 2\n", False),
    ],
    ids=["remark", "constant", "function", "class", "attribute"],
)
def test_a_file_that_is_imported_again_makes_the_same_unless_it_changed(
    text: str, again: str | None, equal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    found = []
    for written in (text, text if again is None else again):
        (tmp_path / "made_twice.py").write_text(written)
        importlib.invalidate_caches()
        sys.modules.pop("made_twice", None)
        found.append(importlib.import_module("made_twice").train)
    sys.modules.pop("made_twice", None)
    assert found[0] is not found[1]
    assert same(*found) == equal


def test_a_snapshot_does_not_change_with_what_it_was_taken_of() -> None:
    trainer = Trainer(1.0)
    before, method = snapshot(trainer), snapshot(trainer.run)
    trainer.c = 2.0
    assert before.c == method(None, 0) == 1.0
    assert snapshot(Trainer) is Trainer
    assert snapshot(closure) is closure
    locked = with_lock(1.0)
    assert snapshot(locked) is locked
