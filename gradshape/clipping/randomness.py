"""The state of the process's random generators, which layers such as dropout draw from."""

import torch
from torch import Tensor


def random_state(device: torch.device) -> list[Tensor]:
    """The states of the CPU's generator and the device's."""
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def set_random_state(state: list[Tensor], device: torch.device) -> None:
    """Go back to what :func:`random_state` returned."""
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
