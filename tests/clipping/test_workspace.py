"""Memory is used again, and never while somebody uses it."""

import threading
from collections.abc import Iterator

import pytest
import torch
from torch import nn

from gradshape.clipping import per_sample, workspace
from gradshape.clipping.workspace import Workspace
from gradshape.shaping import Clip, Shaper
from gradshape.training import SGD, Recipe, Victim, train_victims
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, per_sample_gradients, randn, weighted_sum
from tests.training.samples import blobs

LIKE = torch.empty(0)


@pytest.fixture(autouse=True)
def nothing_is_kept() -> Iterator[None]:
    workspace.release_workspaces()
    yield
    workspace.release_workspaces()


def kept() -> list[int]:
    return sorted(block.nbytes for block in workspace._thread.free)


def test_memory_is_used_again_once_its_workspace_is_gone() -> None:
    first = Workspace((4, 5), LIKE)
    place = first.tensor.data_ptr()
    second = Workspace((4, 5), LIKE)
    assert second.tensor.data_ptr() != place
    del first
    assert Workspace((2, 10), LIKE).tensor.data_ptr() == place


def test_a_workspace_takes_the_smallest_block_that_is_large_enough() -> None:
    places = [each.tensor.data_ptr() for each in [Workspace((size,), LIKE) for size in (10, 30, 20)]]
    assert kept() == [40, 80, 120]
    assert Workspace((15,), LIKE).tensor.data_ptr() == places[2]


def test_a_larger_block_takes_the_place_of_one_that_is_too_small() -> None:
    for size in (10, 20, 40, 30):
        assert Workspace((size,), LIKE).tensor.shape == (size,)
        assert len(kept()) == 1
    assert kept() == [160]


def test_a_block_of_another_dtype_is_no_such_block() -> None:
    Workspace((10,), LIKE)
    assert Workspace((5,), LIKE.double()).tensor.dtype == torch.float64
    assert kept() == [40]


def test_no_more_is_kept_than_a_thread_may_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workspace, "_KEPT_BYTES", 100)
    several = [Workspace((10,), LIKE) for _ in range(4)]
    del several
    assert kept() == [40, 40]
    Workspace((26,), LIKE)
    assert 104 not in kept()


def test_threads_keep_memory_of_their_own() -> None:
    place = Workspace((10,), LIKE).tensor.data_ptr()
    other: list[int] = []
    thread = threading.Thread(target=lambda: other.append(Workspace((10,), LIKE).tensor.data_ptr()))
    thread.start()
    thread.join()
    assert other != [place]
    assert Workspace((10,), LIKE).tensor.data_ptr() == place


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (nn.Sequential(nn.Linear(6, 6), nn.Flatten(), nn.Linear(240, 3)), (40, 6)),
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(32, 3)), (1, 6, 6)),
    ],
    ids=["linear", "convolution"],
)
def test_gradients_that_are_still_held_keep_their_numbers(model: nn.Module, shape: tuple[int, ...]) -> None:
    filled(model)
    batches = [(randn(5, *shape, seed=seed), labels(5, 3)) for seed in range(3)]
    held = [per_sample(model, PER_SAMPLE_LOSS, x, y) for x, y in batches]
    unused = len(kept())
    weights = randn(5, seed=9)
    for (x, y), gradients in zip(batches, held, strict=True):
        expected = weighted_sum(model, per_sample_gradients(model, PER_SAMPLE_LOSS, x, y), weights)
        for name, total in gradients.weighted_sum(weights).items():
            torch.testing.assert_close(total, expected[name], rtol=1e-9, atol=1e-12)
    del held, gradients
    assert len(kept()) == unused + 3


def test_nothing_is_kept_after_a_training() -> None:
    data = blobs(shape=(1, 6, 6))
    recipe = Recipe("cnn", SGD(0.1), batch_size=8, epochs=1, shaper=Shaper((Clip(1.0),)))
    for stacked in (True, False):
        train_victims(data, [Victim(recipe, 0)], stacked=stacked)
        assert not kept()
