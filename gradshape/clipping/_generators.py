"""The generators of the process from which a forward pass may draw: those of torch, of Python and of NumPy."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape._randomness import HostState, exclusive_randomness, set_torch_state, torch_state


@contextmanager
def drawing_from(state: HostState | None) -> Iterator[None]:
    """Draw Python's and NumPy's numbers from ``state``; ``None`` for the present one, which then goes on."""
    if state is None:
        yield
        return
    present = HostState.now()
    state.restore()
    try:
        yield
    finally:
        present.restore()


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a forward pass drew.

    Attributes:
        device: the device of its rows.
        torch: the states of torch's generators before it.
        host: those of Python's and NumPy's; ``None`` if it did not draw from them, or nobody looked.
        anything: whether it drew from any.
    """

    device: torch.device
    torch: Sequence[Tensor]
    host: HostState | None
    anything: bool

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the same numbers; the generators then go on as if nothing had been drawn."""
        with exclusive_randomness():
            present = torch_state(self.device)
            set_torch_state(self.torch, self.device)
            try:
                with drawing_from(self.host):
                    yield
            finally:
                set_torch_state(present, self.device)


class Draws:
    """Watches what is drawn, from the moment that it is made.

    Args:
        device: the device whose generator counts, beside that of the CPU.
        host: whether to look at Python's and NumPy's generators, which takes longer than a small model's pass.
    """

    def __init__(self, device: torch.device, *, host: bool) -> None:
        self._device = device
        self._torch, self._host = _states(device), HostState.now() if host else None

    def drawn(self) -> Drawn:
        """Return what was drawn up to now."""
        host = None if self._host is None or self._host.equals(HostState.now()) else self._host
        by_torch = any(not torch.equal(*pair) for pair in zip(self._torch, _states(self._device), strict=True))
        return Drawn(self._device, self._torch, host, by_torch or host is not None)


def _states(device: torch.device) -> Sequence[Tensor]:
    # A step that a GPU records draws nothing, and its generator may not be looked at.
    if device.type == "cuda" and torch.cuda.is_current_stream_capturing():
        return [torch.get_rng_state()]
    return torch_state(device)
