"""The state of the process that can change numbers, put back as it was after code that is not the library's."""

import os
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
import torch

from gradshape import _randomness


class _Setting(NamedTuple):
    """One part of the state. Readings can be compared, and do not change with what they were read from."""

    read: Callable[[], Any]
    write: Callable[[Any], object]


def _flag(of: object, name: str) -> _Setting:
    return _Setting(lambda: getattr(of, name), lambda value: setattr(of, name, value))


def _write_device(device: torch.device) -> None:
    # With None functions of torch are not even looked at, with "cpu" every single call is.
    torch.set_default_device(None if device.type == "cpu" else device)


def _read_deterministic() -> tuple[bool, bool]:
    return torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()


def _read_anomaly() -> tuple[bool, bool]:
    return torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()


def _float32_backends() -> list[Any]:
    """Return what has a precision of its own for float32 products; nothing in old versions of PyTorch."""
    backends: Any = torch.backends
    if not hasattr(backends, "fp32_precision"):
        return []
    onednn, cudnn = backends.mkldnn, backends.cudnn
    return [
        *(backends, backends.cuda.matmul, cudnn.conv, cudnn.rnn),
        *(onednn.matmul, onednn.conv, onednn.rnn),
    ]


def _read_precision() -> tuple[Any, ...]:
    legacy: list[Any] = []
    for read in (torch.get_float32_matmul_precision, lambda: torch.backends.cudnn.allow_tf32):
        try:
            legacy.append(read())
        except RuntimeError:
            # Somebody has set precisions that the older functions have no name for.
            legacy.append(None)
    return (*legacy, *(backend.fp32_precision for backend in _float32_backends()))


def _write_precision(precisions: tuple[Any, ...]) -> None:
    products, convolutions, *single = precisions
    if products is not None:
        torch.set_float32_matmul_precision(products)
    if convolutions is not None:
        torch.backends.cudnn.allow_tf32 = convolutions
    for backend, precision in zip(_float32_backends(), single, strict=True):
        backend.fp32_precision = precision


def _read_torch() -> list[bytes]:
    states = [torch.get_rng_state()]
    if torch.cuda.is_initialized():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy().tobytes() for state in states]


def _write_torch(states: list[bytes]) -> None:
    cpu, *gpus = (torch.frombuffer(bytearray(state), dtype=torch.uint8) for state in states)
    torch.set_rng_state(cpu)
    for place, state in enumerate(gpus):
        torch.cuda.set_rng_state(state, place)


def _read_numpy() -> tuple[Any, ...]:
    kind, keys, *place = np.random.get_state()  # noqa: NPY002
    return (kind, np.asarray(keys).tobytes(), *place)


def _write_numpy(state: tuple[Any, ...]) -> None:
    kind, keys, *place = state
    np.random.set_state((kind, np.frombuffer(keys, dtype=np.uint32), *place))  # noqa: NPY002


def _read_folder() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # Somebody has removed it.
        return None


def _write_folder(folder: str | None) -> None:
    if folder is not None:
        os.chdir(folder)


_THREAD_SETTINGS: Mapping[str, _Setting] = {
    "torch's number of threads": _Setting(torch.get_num_threads, torch.set_num_threads),
    "torch's default device": _Setting(torch.get_default_device, _write_device),
    "torch's gradient mode": _Setting(torch.is_grad_enabled, torch.set_grad_enabled),
    "NumPy's handling of errors": _Setting(np.geterr, lambda modes: np.seterr(**modes)),
}
_PROCESS_SETTINGS: Mapping[str, _Setting] = {
    "torch's default dtype": _Setting(torch.get_default_dtype, torch.set_default_dtype),
    "torch's deterministic mode": _Setting(
        _read_deterministic, lambda modes: torch.use_deterministic_algorithms(modes[0], warn_only=modes[1])
    ),
    "torch's anomaly mode": _Setting(_read_anomaly, lambda modes: torch.autograd.set_detect_anomaly(*modes)),
    "torch's float32 precision": _Setting(_read_precision, _write_precision),
    "cuDNN's benchmark mode": _flag(torch.backends.cudnn, "benchmark"),
    "cuDNN's deterministic mode": _flag(torch.backends.cudnn, "deterministic"),
    "the working directory": _Setting(_read_folder, _write_folder),
}
_GENERATORS: Mapping[str, _Setting] = {
    "torch's generator": _Setting(_read_torch, _write_torch),
    "NumPy's generator": _Setting(_read_numpy, _write_numpy),
    "Python's generator": _Setting(random.getstate, random.setstate),
}

# Names of the generators' states; those of the rest of the state are settings.
GENERATORS = frozenset(_GENERATORS)

State = dict[str, Any]

_lock = Lock()
_inside = 0
_before: State = {}


def read() -> State:
    """Return the state by the names of its parts; two such states can be compared part by part."""
    return _read({**_THREAD_SETTINGS, **_PROCESS_SETTINGS, **_GENERATORS})


@contextmanager
def restored() -> Iterator[None]:
    """Call code that is not the library's within this context, and its effects on the state end with it.

    The state is that of random generators (torch's, NumPy's, Python's), torch's default dtype and device, number of
    threads, gradient, deterministic and anomaly modes and precision of float32 products, NumPy's handling of errors,
    and the working directory. Within the context the default dtype is float32 and the default device the CPU to begin
    with, and inference mode is off, whatever they are outside, so that ``torch.zeros(3)`` means the same wherever a
    result is computed.
    Warning filters are left to pytest, which restores them after every test.

    Threads: most of the state belongs to the whole process. While several threads are in this context, one of them
    would change what another one sees if it restored anything: the last one to leave restores what the first one found.
    Until then code that is not the library's may be affected by such code in other threads. The library's own results
    are not: it names dtypes and generators wherever it makes a number. The exceptions are networks with dropout and the
    like, which draw from torch's own generator: one of them in another thread is disturbed by whoever draws from that
    generator meanwhile. In processes of their own (``--engine processes``) nobody disturbs anybody.
    """
    thread_settings = _read(_THREAD_SETTINGS)
    _enter()
    try:
        with usual_modes():
            yield
    finally:
        _leave()
        _write(_THREAD_SETTINGS, thread_settings)


@contextmanager
def usual_modes() -> Iterator[None]:
    """Leave inference mode and another default device than the CPU, which a caller's test may be in."""
    with ExitStack() as left:
        if torch.is_inference_mode_enabled():
            left.enter_context(torch.inference_mode(False))
        if torch.get_default_device().type != "cpu":
            left.enter_context(torch.device("cpu"))
        yield


def _enter() -> None:
    global _inside, _before
    with _lock:
        if not _inside:
            _before = _read(_PROCESS_SETTINGS)
            with _randomness.if_nobody_draws() as free:
                _before |= _read(_GENERATORS) if free else {}
            torch.set_default_dtype(torch.float32)
        _inside += 1


def _leave() -> None:
    global _inside, _before
    with _lock:
        _inside -= 1
        if _inside:
            return
        _write(_PROCESS_SETTINGS, _before)
        # A training in another thread that draws from the generators restores them itself.
        with _randomness.if_nobody_draws() as free:
            if free and _before.keys() >= GENERATORS:
                _write(_GENERATORS, _before)
        _before = {}


def _read(settings: Mapping[str, _Setting]) -> State:
    return {name: setting.read() for name, setting in settings.items()}


def _write(settings: Mapping[str, _Setting], state: State) -> None:
    for name, setting in settings.items():
        if setting.read() != state[name]:
            setting.write(state[name])
