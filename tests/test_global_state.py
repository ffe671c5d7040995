"""What code that is not the library's moves is put back."""

import itertools
import os
import random
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from gradshape import _global_state
from gradshape._own_thread import OwnThread
from gradshape._randomness import process_randomness

_BACKENDS: Any = torch.backends
MOVES: dict[str, Callable[[], object]] = {
    "torch's default dtype": lambda: torch.set_default_dtype(torch.float64),
    "torch's default device": lambda: torch.set_default_device("meta"),
    "torch's number of threads": lambda: torch.set_num_threads(torch.get_num_threads() + 1),
    "torch's gradient mode": lambda: torch.set_grad_enabled(False),
    "torch's deterministic mode": lambda: torch.use_deterministic_algorithms(True, warn_only=True),
    "torch's anomaly mode": lambda: torch.autograd.set_detect_anomaly(True, check_nan=False),
    "torch's float32 precision": lambda: torch.set_float32_matmul_precision("medium"),
    "cuDNN's benchmark mode": lambda: setattr(torch.backends.cudnn, "benchmark", True),
    "cuDNN's deterministic mode": lambda: setattr(torch.backends.cudnn, "deterministic", True),
    "NumPy's handling of errors": lambda: np.seterr(all="raise"),
    "the working directory": lambda: os.chdir("/"),
    "torch's generator": lambda: torch.rand(1),
    "NumPy's generator": lambda: np.random.seed(5),  # noqa: NPY002
    "Python's generator": lambda: random.seed(5),
}
PRECISIONS: dict[str, Callable[[], object]] = {
    "products": lambda: setattr(torch.backends.cuda.matmul, "allow_tf32", True),
    "convolutions": lambda: setattr(torch.backends.cudnn, "allow_tf32", False),
    "both": lambda: [PRECISIONS[name]() for name in ("products", "convolutions")],
}
if hasattr(torch.backends, "fp32_precision"):
    PRECISIONS |= {
        "all": lambda: setattr(torch.backends, "fp32_precision", "tf32"),
        "of the processor": lambda: setattr(_BACKENDS.mkldnn.matmul, "fp32_precision", "bf16"),
        "old and new": lambda: [PRECISIONS[name]() for name in ("products", "of the processor")],
    }


def moved(before: _global_state.State) -> set[str]:
    after = _global_state.read()
    return {name for name in before if after[name] != before[name]}


def test_every_part_of_the_state_is_moved_here() -> None:
    assert MOVES.keys() == _global_state.read().keys()


@pytest.mark.parametrize("name", MOVES)
def test_what_is_moved_is_put_back(name: str) -> None:
    before = _global_state.read()
    with _global_state.restored():
        MOVES[name]()
        assert moved(before) == {name}
    assert not moved(before)


@pytest.mark.parametrize("name", PRECISIONS)
def test_precisions_that_are_set_in_any_way_are_put_back(name: str) -> None:
    before = _global_state.read()
    with _global_state.restored():
        torch.set_float32_matmul_precision("high")
        of_user = _global_state.read()
        with _global_state.restored():
            pass
        assert not moved(of_user)
        PRECISIONS[name]()
    assert not moved(before)
    assert torch.get_float32_matmul_precision() == "highest"


@pytest.mark.parametrize("name", MOVES)
def test_it_is_put_back_after_an_error(name: str) -> None:
    before = _global_state.read()

    @_global_state.restored()
    def stumble() -> None:
        MOVES[name]()
        raise RuntimeError

    with pytest.raises(RuntimeError):
        stumble()
    assert not moved(before)


def test_the_default_dtype_is_float32_to_begin_with() -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with _global_state.restored():
            assert torch.zeros(1).dtype == torch.float32
        assert torch.zeros(1).dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_the_last_one_to_leave_puts_back_what_the_first_one_found() -> None:
    before = _global_state.read()
    inside, leave = threading.Event(), threading.Event()

    def stay() -> None:
        with _global_state.restored():
            torch.set_default_dtype(torch.float64)
            inside.set()
            assert leave.wait(300)

    thread = threading.Thread(target=stay)
    thread.start()
    assert inside.wait(300)
    with _global_state.restored():
        torch.use_deterministic_algorithms(True)
    # The other one may need it.
    assert torch.get_default_dtype() == torch.float64
    leave.set()
    thread.join()
    assert not moved(before)


def test_a_training_that_draws_in_another_thread_is_left_alone() -> None:
    inside, leave, drawn = threading.Event(), threading.Event(), list[float]()

    def draw() -> None:
        with process_randomness(torch.device("cpu"), seed=3):
            inside.set()
            assert leave.wait(300)
            drawn.append(float(torch.rand(1)))

    with process_randomness(torch.device("cpu"), seed=3):
        expected = float(torch.rand(1))
    thread = threading.Thread(target=draw)
    with _global_state.restored():
        thread.start()
        assert inside.wait(300)
    leave.set()
    thread.join()
    assert drawn == [expected]


@pytest.mark.parametrize("name", MOVES)
def test_a_thread_of_its_own_moves_nothing(name: str) -> None:
    before = _global_state.read()
    OwnThread[None]().run(MOVES[name])
    assert not moved(before)


def test_other_code_runs_outside_of_inference_mode_and_on_the_usual_device() -> None:
    with torch.inference_mode(), torch.device("meta"):
        with _global_state.restored():
            made = torch.zeros(3)
        assert torch.is_inference_mode_enabled()
        assert torch.zeros(3).is_meta
    assert made.device.type == "cpu"
    assert not made.is_inference()


@pytest.mark.parametrize("seed", [0, 1, 7, 2**32 - 1, 2**32 + 7, 2**64 - 1])
def test_generators_of_the_process_draw_apart_and_the_same_for_a_seed(seed: int) -> None:
    def drawn() -> list[NDArray[np.float64]]:
        with process_randomness(torch.device("cpu"), seed):
            return [
                np.array([random.random() for _ in range(100)]),
                np.random.random(100),  # noqa: NPY002
                torch.rand(100, dtype=torch.float64).numpy(),
                torch.rand(100).double().numpy(),
            ]

    first, again = drawn(), drawn()
    assert all(map(np.array_equal, first, again))
    for one, other in itertools.combinations([*first, np.random.RandomState(seed % 2**32).random(100)], 2):
        assert np.abs(one - other).max() > 0.5


def test_other_seeds_draw_other_numbers() -> None:
    drawn = []
    for seed in (0, 1, 2**32, 2**32 + 1):
        with process_randomness(torch.device("cpu"), seed):
            drawn += [random.random(), np.random.random()]  # noqa: NPY002
    assert len(set(drawn)) == len(drawn)
