"""What comes out of the cache is what went in, bit by bit."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from gradshape.attacks import PoisonSet
from gradshape.training import Layers, OptimizerState, SubsetGradients, TrainingResult
from gradshape_bench.cache import Cache, entry
from gradshape_bench.jobs import Finished
from tests.reliability.cache_sample import INF, KEY, NAN, POISON, SAMPLES, TRAINED, same

DTYPES = (
    *(torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64),
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128),
)


def back(result: object, seconds: float = 1.5) -> Any:
    """A result that was packed and unpacked, as a later process gets it."""
    packed = bytes(entry.pack(KEY, Finished(result, seconds)))
    found = entry.unpack(KEY, packed[: entry.HEAD], packed[entry.HEAD :])
    assert found.seconds == seconds
    return found.result


def _tensor(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """A tensor that holds any bits."""
    tensor = torch.empty(shape, dtype=dtype)
    values = np.random.default_rng(len(shape)).integers(256, size=tensor.nbytes, dtype=np.uint8)
    # Of a bool no other bits are defined than those of 0 and 1.
    tensor.reshape(-1).view(torch.uint8).numpy()[:] = values & 1 if dtype is torch.bool else values
    return tensor


SHAPES = (), (0,), (5,), (2, 0, 3), (2, 3), (1, 2, 2)
SPECIAL = torch.tensor([NAN, -NAN, INF, -INF, 0.0, -0.0, 1e-45], dtype=torch.float32)
TENSORS = [
    *(_tensor(dtype, shape) for dtype in DTYPES for shape in SHAPES),
    *(_tensor(dtype, (2, 3)).T for dtype in DTYPES),
    *(SPECIAL.to(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64)),
    torch.arange(10)[::3],
]
tensors = st.sampled_from(TENSORS)
states = st.dictionaries(st.text(max_size=8), tensors, max_size=3)
optimizers = st.builds(OptimizerState, st.integers(0, 2**60), st.lists(states, max_size=3).map(tuple))
probes = st.builds(
    SubsetGradients,
    st.sampled_from(Layers),
    st.lists(st.text(), max_size=3).map(tuple),
    *(tensors,) * 6,
    st.none() | tensors,
)
trainings = st.builds(
    TrainingResult,
    tensors,
    predictions=st.none() | tensors,
    last=st.none() | states,
    best=st.none() | states,
    diverged=st.none() | st.integers(1, 2**60),
    mse=st.none() | st.floats(),
    gradients=st.none() | probes,
    last_optimizer=st.none() | optimizers,
    best_optimizer=st.none() | optimizers,
)
notes = st.dictionaries(st.text(max_size=8), st.floats(allow_nan=False) | st.integers(), max_size=3)
poisons = st.builds(PoisonSet, tensors, tensors, source=tensors, replaced=tensors, notes=notes)


@settings(max_examples=60)
@given(trainings | poisons, st.floats(0, 1e300))
def test_every_result_comes_back_bit_by_bit(result: object, seconds: float) -> None:
    assert same(back(result, seconds), result)


def test_every_tensor_comes_back_bit_by_bit() -> None:
    assert [tensor for tensor in TENSORS if not same(back(tensor), tensor.detach())] == []


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_sample_comes_back_from_a_file(kind: str, tmp_path: Path) -> None:
    Cache(tmp_path).put(KEY, Finished(SAMPLES[kind], 0.1))
    found = Cache(tmp_path).get(KEY)
    assert found is not None
    assert same(found.result, SAMPLES[kind])
    assert found.seconds == 0.1


@pytest.mark.parametrize("mse", [NAN, INF, -0.0, 5e-324])
def test_every_number_comes_back(mse: float) -> None:
    assert same(back(replace(TRAINED, mse=mse)).mse, mse)


def test_notes_of_numpy_come_back_as_plain_numbers() -> None:
    float_of_numpy: Any = np.float32(0.5)
    noted = replace(POISON, notes={"bound": float_of_numpy, "rows": 3})
    assert same(back(noted).notes, {"bound": 0.5, "rows": 3})


def test_what_comes_back_may_be_written_to() -> None:
    found = back(TRAINED)
    found.last["head.weight"] += 1
    assert same(found.best, TRAINED.best)


@pytest.mark.parametrize("seconds", [NAN, INF, -1.0, "1", True])
def test_seconds_are_a_finite_number(seconds: Any) -> None:
    with pytest.raises(ValueError, match="expected a finite number of at least 0"):
        entry.pack(KEY, Finished(TRAINED, seconds))


def test_a_result_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(TypeError, match="cannot store a str: expected a PoisonSet"):
        entry.pack(KEY, Finished("text", 1.0))


@pytest.mark.parametrize("mask", [torch.ones(2).to_sparse(), torch.ones(2).to(torch.float8_e5m2)])
def test_a_tensor_of_another_kind_is_refused_by_name(mask: Tensor) -> None:
    with pytest.raises(TypeError, match=r"cannot store mask, .*: expected a dense tensor of numbers"):
        entry.pack(KEY, Finished(mask, 1.0))
