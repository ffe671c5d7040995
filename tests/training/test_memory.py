"""What a stack takes stays below what it may take."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gradshape.data import Dataset
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Shaper, Statistic
from gradshape.training import SGD, Adam, Recipe, Victim, train_stacks
from gradshape.training._dense.family import DenseFamily
from gradshape.training.plan import family_of
from gradshape.training.workload import Workload
from tests.training.samples import blobs, random_rows

MIB = 1 << 20
DATA = blobs(rows=400, test=1000, shape=(100,), classes=20)
PICTURES = blobs(rows=225, test=500, shape=(1, 8, 8), classes=20)

SHAPERS = {
    "vanilla": Shaper(),
    "clip-noise": Clip(1.0) | Noise(0.1),
    "layers": Shaper((Clip(1.0, per_layer=True),)),
    "median": Clip(1.0) | AdaptiveNoise(0.1, statistic=Statistic.MEDIAN),
}


def data_of(kind: str) -> Dataset:
    """What victims of this architecture are trained on."""
    return PICTURES if kind == "cnn" else DATA


def setup(kind: str, shaper: str, own_rows: bool, count: int) -> list[Victim]:
    """Victims that may share a stack."""
    data = data_of(kind)
    optimizer = SGD(0.1, momentum=0.5) if own_rows else Adam(0.01)
    # Larger steps of the convolutional network are not stacked.
    batch_size = 75 if kind == "cnn" else 100
    recipe = Recipe(kind, optimizer, batch_size=batch_size, epochs=1, shaper=SHAPERS[shaper])
    private = [random_rows(data, 10 + k % 10, seed=k) if own_rows else None for k in range(count)]
    watch = data.test.x[:3]
    return [Victim(recipe, k, private=private[k], order_seed=0, watch=watch) for k in range(count)]


# Architecture, shaper, whether victims have rows of their own, whether states are kept, MiB, victims.
CASES = [
    ("lr", "vanilla", False, True, 50, 600),
    ("lr", "clip-noise", True, False, 45, 90),
    ("mlp", "layers", True, True, 100, 40),
    ("mlp1", "clip-noise", True, True, 100, 60),
    ("mlp1", "median", False, False, 60, 60),
    ("cnn", "clip-noise", True, True, 120, 30),
    ("cnn", "layers", False, False, 120, 30),
]

# Linux tells a process its largest size, and lets it start anew.
_CHILD = """
import gc, re
from pathlib import Path
import torch
torch.set_num_threads(1)
from gradshape.training import train_stacks
from gradshape.training._dense import family
from tests.training.test_memory import CASES, MIB, data_of, setup

# What fits a processor's cache would be less.
family._IN_CACHE = 1 << 40

def size(key):
    return int(re.search(rf"{key}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) << 10

for kind, shaper, own_rows, keep_states, mib, count in CASES:
    data, victims = data_of(kind), setup(kind, shaper, own_rows, count)
    for _ in train_stacks(data, victims[:2], keep_states=keep_states):
        pass
    gc.collect()
    Path("/proc/self/clear_refs").write_text("5")
    before, stacks = size("VmRSS"), 0
    for _ in train_stacks(data, victims, max_memory=mib * MIB, keep_states=keep_states):
        stacks += 1
    print(size("VmHWM") - before, stacks)
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells the size of a process")
def test_the_peak_stays_below_the_limit() -> None:
    child = [sys.executable, "-c", _CHILD]
    # So that what one case frees goes back to the system, and the next one has to ask for it again.
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 16)}
    here = Path(__file__).parents[2]
    done = subprocess.run(child, capture_output=True, text=True, check=True, cwd=here, env=environment)
    lines = done.stdout.splitlines()
    for case, line in zip(CASES, lines, strict=True):
        limit = case[4] * MIB
        peak, stacks = map(int, line.split())
        assert stacks > 1, case
        # An estimate that is far too high would train fewer victims together than fit.
        assert 0.3 * limit <= peak <= limit, case


@pytest.mark.parametrize("kind", ["lr", "cnn"])
@pytest.mark.parametrize("shaper", SHAPERS)
def test_more_memory_never_means_more_stacks(shaper: str, kind: str) -> None:
    data, victims = data_of(kind), setup(kind, shaper, True, 12)
    work = Workload(data, victims)
    needs = family_of(data, victims[0], work.device).needs(work, victims)
    sizes = [needs.victims(budget * MIB) for budget in (1, 30, 60, 120, 1000)]
    assert sizes[0] == 1
    assert sizes == sorted(sizes)


def test_a_single_victim_is_trained_whatever_it_takes() -> None:
    victims = setup("lr", "clip-noise", True, 3)
    assert [members for members, _ in train_stacks(DATA, victims, max_memory=1)] == [(0,), (1,), (2,)]


# Plain descent touches the parameters alone, Adam four tensors of their size, for which there is twice the room.
@pytest.mark.parametrize(("optimizer", "sizes"), [(SGD(0.1), [4, 3]), (Adam(0.1), [2, 2, 2, 1])])
def test_a_processor_trains_as_many_together_as_its_cache_holds(
    optimizer: SGD | Adam, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    victims = [Victim(Recipe("lr", optimizer, batch_size=20, epochs=1), seed, order_seed=0) for seed in range(7)]
    monkeypatch.setattr("gradshape.training._dense.family._IN_CACHE", 4 * 4 * (100 + 1) * 20)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert [len(members) for members, _ in train_stacks(DATA, victims)] == sizes
    work = Workload(DATA, victims, device=torch.device("meta"))
    assert DenseFamily().needs(work, victims).victims(1 << 30) > 7
