"""Guarded copies: originals stay as they are, and who writes to the copies is named."""

import gc
import math
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gradshape.data import Dataset, GuardedCopies, Split, _copies
from gradshape.testing._datasets import blobs
from gradshape.testing.attack import BASE
from gradshape.training import TrainedModel

DEEDS: dict[str, Callable[[Split], object]] = {
    "torch": lambda rows: rows.x.mul_(0.5),
    "data": lambda rows: rows.x.data.zero_(),
    "numpy": lambda rows: rows.x.numpy().fill(0.25),
    "one-number": lambda rows: rows.x[3].numpy().__setitem__(1, 0.125),
    "reordered": lambda rows: rows.x.copy_(rows.x.flip(0)),
    "labels": lambda rows: rows.y.fill_(0),
    "labels-numpy": lambda rows: rows.y.numpy().fill(1),
    "resized": lambda rows: rows.x.resize_(2, 5),
    "exchanged": lambda rows: rows.x.set_(torch.zeros_like(rows.x).untyped_storage()),
}


@pytest.fixture(params=["copied", "mapped"])
def rows(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Split:
    monkeypatch.setattr(_copies, "_LARGE", 1 << 40 if request.param == "copied" else 0)
    return Split(torch.rand(30, 5, generator=torch.Generator().manual_seed(0)), torch.arange(30) % 3)


@pytest.mark.parametrize("deed", DEEDS)
def test_who_writes_is_named_and_the_rows_are_as_they_were(rows: Split, deed: str) -> None:
    fingerprint, copies = rows.fingerprint, GuardedCopies()
    shown, other = copies.copy_of_rows("train", rows), rows.copy()
    copies.check("attack 'vandal'")
    DEEDS[deed](shown)
    axis = "y" if deed.startswith("labels") else "x"
    with pytest.raises(ValueError, match=rf"^attack 'vandal' wrote to train\.{axis}, which it was shown: expected"):
        copies.check("attack 'vandal'")
    assert Split(rows.x, rows.y).fingerprint == Split(other.x, other.y).fingerprint == fingerprint
    assert torch.equal(copies.copy_of_rows("again", rows).x, rows.x)


def test_reading_is_no_writing(rows: Split) -> None:
    copies = GuardedCopies()
    shown = copies.copy_of_rows("train", rows)
    assert float(shown.x.numpy().sum()) == pytest.approx(float(rows.x.sum()))
    shown.x.requires_grad_()
    copies.check("a reader")
    assert not rows.x.requires_grad


def test_copies_lie_apart(rows: Split) -> None:
    places = {
        array.untyped_storage().data_ptr() for copy in (rows, rows.copy(), rows.copy()) for array in vars(copy).values()
    }
    assert len(places) == 6


def test_files_are_closed_with_the_rows(rows: Split) -> None:
    if not Path("/proc/self/fd").exists():
        pytest.skip("counts open files in /proc")
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        Split(rows.x.clone(), rows.y).copy()
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before


def test_without_room_for_a_file_there_are_copies_all_the_same(rows: Split, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(file: int, data: memoryview) -> int:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "write", full)
    copy = rows.copy()
    copy.x.zero_()
    assert bool(rows.x.any())


def test_numbers_that_are_none_are_the_same() -> None:
    state, copies = {"weight": torch.tensor([1.0, math.nan])}, GuardedCopies()
    shown = copies.copy_of_state("parameters", state)
    copies.check("a reader")
    shown["weight"][0] = math.nan
    with pytest.raises(ValueError, match=r"wrote to parameters\['weight'\]"):
        copies.check("a writer")


def test_a_copy_of_a_data_set_has_a_fingerprint_of_its_own() -> None:
    data = blobs()
    fingerprint = data.fingerprint
    copy = data.copy()
    assert isinstance(copy, Dataset)
    assert copy.fingerprint == fingerprint
    other = data.copy()
    other.train.x.zero_()
    assert other.fingerprint != fingerprint
    assert Dataset("blobs", data.train, data.test, num_classes=3).fingerprint == fingerprint


def test_values_are_copied_with_all_tensors_in_them() -> None:
    model, copies = TrainedModel(BASE, {"weight": torch.ones(2)}), GuardedCopies()
    value = {"models": [model], "rows": (Split(torch.ones(1, 2), torch.zeros(1)), None), "name": "a"}
    shown = copies.copy_of_value("result", value)
    assert shown["name"] == "a"
    assert shown["models"][0].recipe == BASE
    copies.check("a reader")
    shown["models"][0].state["weight"].zero_()
    assert bool(model.state["weight"].all())
    with pytest.raises(ValueError, match=r"wrote to result\['models'\]\[0\]\.state\['weight'\]"):
        copies.check("a writer")


def test_what_was_derived_is_derived_anew() -> None:
    rows = Split(torch.ones(2, 2), torch.zeros(2))
    before = rows.fingerprint
    shown = GuardedCopies().copy_of_value("rows", rows)
    shown.x.zero_()
    assert shown.fingerprint != before
