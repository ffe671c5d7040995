"""Recorded steps do what steps do."""

import logging
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from gradshape.shaping import Clip, Noise, Normalize, QuantileClip, Reweight, Shaper
from gradshape.training import SGD, Adam, Optimizer, Recipe, Sampling, Victim, _replay, train_victims
from gradshape.training._replay import CALLS_BEFORE, Replay
from tests import pretend
from tests.pretend import pretend_device
from tests.training.samples import assert_results_equal, blobs, random_rows


@pytest.fixture(params=["pretend", "cuda"])
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    if request.param == "pretend":
        monkeypatch.setitem(_replay.RECORDERS, "pretend", pretend.record)
        with pretend_device():
            yield torch.device("pretend")
    elif torch.cuda.is_available():
        yield torch.device("cuda")
    else:
        pytest.skip("needs a CUDA device")


def test_a_record_repeats_the_work_with_other_arguments(device: torch.device) -> None:
    total, python = torch.zeros(3, device=device), []

    def add(x: Tensor, y: Tensor | None) -> Tensor:
        python.append(len(x))
        doubled = 2 * x if y is None else x + y
        total[: len(x)].add_(doubled)
        return doubled.sum()

    replayed = Replay(device, repeats=True)
    for call in range(CALLS_BEFORE + 3):
        result = replayed(add, torch.full((2,), float(call), device=device), None)
        assert float(result) == 4 * call
    assert replayed.recorded
    calls = CALLS_BEFORE + 3
    assert total.cpu().tolist() == [calls * (calls - 1), calls * (calls - 1), 0]
    # The last one was to record, and had no effect.
    assert len(python) == CALLS_BEFORE + 1
    assert float(replayed(add, torch.ones(3, device=device), torch.ones(3, device=device))) == 6
    assert len(python) == CALLS_BEFORE + 2


def test_what_does_not_repeat_is_never_recorded(device: torch.device) -> None:
    replayed = Replay(device, repeats=False)
    for _ in range(CALLS_BEFORE + 2):
        replayed(torch.neg, torch.ones(2, device=device))
    assert not replayed.recorded


def test_what_cannot_be_recorded_is_called(device: torch.device, caplog: pytest.LogCaptureFixture) -> None:
    replayed = Replay(device, repeats=True)

    def waits(x: Tensor) -> Tensor:
        return x * float(x.sum())

    with caplog.at_level(logging.WARNING):
        results = [replayed(waits, torch.full((2,), 3.0, device=device)).cpu() for _ in range(CALLS_BEFORE + 3)]
    assert all(result.tolist() == [18.0, 18.0] for result in results)
    assert not replayed.recorded
    assert len(caplog.records) == 1


def test_processors_do_not_record() -> None:
    replayed = Replay(torch.device("cpu"), repeats=True)
    for _ in range(CALLS_BEFORE + 2):
        replayed(torch.neg, torch.ones(2))
    assert not replayed.recorded


SHAPERS = {
    "vanilla": Shaper(),
    "clip": Shaper((Clip(0.3),)),
    "clip-noise": Clip(0.5) | Noise(0.1),
    "layers-normalize": Clip(0.3, per_layer=True) | Normalize(),
    "quantile": Shaper((QuantileClip(0.5),)),
    "by-others": Shaper((Reweight(lambda norms: 1 / (1 + norms), label="softer"),)),
}


SHAPES: dict[str, tuple[int, ...]] = {"lr": (5,), "mlp": (5,), "cnn": (1, 6, 6)}
OPTIMIZERS: dict[str, Optimizer] = {"sgd": SGD(0.1), "adam": Adam(0.01)}


@pytest.mark.parametrize(
    ("model", "shape", "optimizer", "shaper", "stacked"),
    [
        # Every two of a model, an optimizer, a shaper and a way of training meet.
        pytest.param(
            model,
            shape,
            OPTIMIZERS[optimizer],
            shaper,
            bool(stacked),
            id=f"{model}-{optimizer}-{shaper}-{'stacked' if stacked else 'alone'}",
        )
        for i, shaper in enumerate(SHAPERS)
        for j, (model, shape) in enumerate(SHAPES.items())
        for optimizer in [list(OPTIMIZERS)[(i + j) % 2]]
        for stacked in [(i // 2 + j) % 2]
    ],
)
def test_trainings_are_those_of_the_cpu(
    model: str,
    shape: tuple[int, ...],
    optimizer: Optimizer,
    shaper: str,
    stacked: bool,
    device: torch.device,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    data = blobs(shape=shape)
    recipe = Recipe(model, optimizer, batch_size=8, epochs=3, shaper=SHAPERS[shaper])
    victims = [Victim(recipe, seed, order_seed=7) for seed in range(2)]
    monkeypatch.setattr(_replay, "CALLS_BEFORE", 2)
    replays = count_replays(monkeypatch)
    on_cpu = train_victims(data, victims, dtype=torch.float64, stacked=stacked)
    assert not replays
    there = train_victims(data, victims, dtype=torch.float64, device=device, stacked=stacked)
    assert_results_equal(there, on_cpu, tolerance=1e-9)
    if shaper in ("quantile", "by-others"):
        assert not replays
    else:
        steps = 3 * (len(data.train) // 8)
        assert len(replays) == (1 if stacked else 2) * (steps - 2)


def test_rows_of_their_own_and_victims_that_leave(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    data = blobs()
    recipe = Recipe("mlp1", SGD(0.1), batch_size=8, epochs=4, shaper=SHAPERS["clip-noise"])
    watch = data.test.x[:1]
    victims = [Victim(recipe, seed, random_rows(data, 3, seed=seed), order_seed=7, watch=watch) for seed in range(3)]
    seen = train_victims(data, victims, dtype=torch.float64)[1].predictions
    assert seen is not None
    victims[1] = replace(victims[1], intended=seen[1])
    monkeypatch.setattr(_replay, "CALLS_BEFORE", 1)
    replays = count_replays(monkeypatch)
    on_cpu = train_victims(data, victims, dtype=torch.float64)
    assert len(on_cpu[1].accuracy) < 4
    assert_results_equal(train_victims(data, victims, dtype=torch.float64, device=device), on_cpu, tolerance=1e-9)
    assert replays


@pytest.mark.parametrize("model", ["lr", "cnn"])
def test_batches_of_any_size(model: str, device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    data = blobs(shape=(1, 6, 6))
    recipe = Recipe(model, SGD(0.1), batch_size=2, epochs=3, shaper=SHAPERS["clip"], sampling=Sampling.POISSON)
    victims = [Victim(recipe, seed, order_seed=7) for seed in range(2)]
    monkeypatch.setattr(_replay, "CALLS_BEFORE", 1)
    replays = count_replays(monkeypatch)
    on_cpu = train_victims(data, victims, dtype=torch.float64)
    assert_results_equal(train_victims(data, victims, dtype=torch.float64, device=device), on_cpu, tolerance=1e-9)
    assert replays


def count_replays(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """A list that every replay makes longer."""
    replays: list[None] = []
    replayed = _replay._Record.replay

    def counted(self: _replay._Record, arguments: tuple[Tensor | None, ...]) -> object:
        replays.append(None)
        return replayed(self, arguments)

    monkeypatch.setattr(_replay._Record, "replay", counted)
    return replays
