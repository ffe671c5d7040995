"""Records what a function launches on a device, and replays it.

A step of a small network is some dozen kernels that run for a few microseconds each: launching them one by one, from
Python, takes longer than running them. CUDA replays all of them at one call.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_log = logging.getLogger(__name__)

# Number of calls with arguments of the same shapes before they are recorded: recording pays off over many.
CALLS_BEFORE = 20

# Takes a function and a device; returns the function's result and a callable that repeats its work in the same memory.
# The work is not done while it is recorded.
Recorder = Callable[[Callable[[], Any], torch.device], tuple[Any, Callable[[], None]]]

# A process can record one graph at a time.
_recording = threading.Lock()


def _cuda(function: Callable[[], Any], device: torch.device) -> tuple[Any, Callable[[], None]]:
    graph, stream = torch.cuda.CUDAGraph(), torch.cuda.Stream(device)
    with (
        _recording,
        torch.cuda.device(device),
        # A recording that fails leaves its stream in use: this goes back to the one before.
        torch.cuda.stream(torch.cuda.current_stream(device)),
        # Other threads may use the device meanwhile, in streams of their own.
        torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"),
    ):
        result = function()
    return result, graph.replay


# Recorders by the type of the device.
RECORDERS: dict[str, Recorder] = {"cuda": _cuda}


class Replay:
    """Calls one function, and records it once it was called often enough with arguments of the same shapes.

    Earlier calls, calls with arguments of other shapes, and calls on devices that cannot record are plain calls.

    Args:
        device: where the function does its work.
        repeats: whether the function does the same work at every call, so that it can be recorded: it waits for nothing
            and draws nothing, and beside its arguments it reads and writes only tensors that stay where they are.
    """

    def __init__(self, device: torch.device, *, repeats: bool) -> None:
        self._device = device
        self._recorder = RECORDERS.get(device.type) if repeats else None
        self._calls: Counter[object] = Counter()
        self._record: _Record | None = None

    @property
    def recorded(self) -> bool:
        """Whether the function is recorded."""
        return self._record is not None

    def __call__(self, function: Callable[..., Any], *arguments: Tensor | None) -> Any:
        """Call ``function``, the same every time; what it returns is good until the next call."""
        if self._recorder is None:
            return function(*arguments)
        shapes = tuple(None if tensor is None else (tensor.shape, tensor.dtype) for tensor in arguments)
        if self._record is None:
            self._calls[shapes] += 1
            if self._calls[shapes] > CALLS_BEFORE:
                try:
                    self._record = _Record(function, shapes, arguments, self._recorder, self._device)
                except RuntimeError as error:
                    self._recorder = None
                    _log.warning("a step cannot be recorded, so its kernels are launched one by one: %s", error)
        if self._record is None or self._record.shapes != shapes:
            return function(*arguments)
        return self._record.replay(arguments)


class _Record:
    """The recorded work of a function, with arguments of its own, to which those of later calls are copied."""

    def __init__(
        self,
        function: Callable[..., Any],
        shapes: tuple[object, ...],
        arguments: tuple[Tensor | None, ...],
        recorder: Recorder,
        device: torch.device,
    ) -> None:
        self.shapes = shapes
        self._arguments = [None if tensor is None else tensor.clone() for tensor in arguments]
        self._result, self._replay = recorder(lambda: function(*self._arguments), device)

    def replay(self, arguments: tuple[Tensor | None, ...]) -> Any:
        for own, given in zip(self._arguments, arguments, strict=True):
            if own is not None and given is not None:
                own.copy_(given)
        self._replay()
        return self._result
