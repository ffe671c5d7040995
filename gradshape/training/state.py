"""What a network has learned: its parameters, and its buffers, such as running statistics."""

import itertools
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def state_of(model: nn.Module) -> State:
    """Copy the model's parameters and buffers, by name, to the CPU.

    >>> sorted(state_of(nn.BatchNorm1d(3)))
    ['bias', 'num_batches_tracked', 'running_mean', 'running_var', 'weight']
    """
    return {name: tensor.detach().cpu().clone() for name, tensor in _named(model)}


def load_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Copy ``state`` into the model, which keeps its device and dtype.

    Raises:
        ValueError: the state has other names or shapes than the model's parameters and buffers.
    """
    check_state(model, state)
    with torch.no_grad():
        for name, tensor in _named(model):
            tensor.copy_(state[name])


def check_state(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Raise ``ValueError`` unless the state has the names and shapes of the model's parameters and buffers."""
    expected = {name: tuple(tensor.shape) for name, tensor in _named(model)}
    given = {name: tuple(tensor.shape) for name, tensor in state.items()}
    if expected != given:
        differ = sorted(name for name, _ in expected.items() ^ given.items())
        raise ValueError(
            f"the state has {given}: expected the parameters and buffers {expected}, which a network has as soon as it "
            f"is built; {', '.join(differ)} differ"
        )


def _named(model: nn.Module) -> Iterator[tuple[str, Tensor]]:
    # Not state_dict(), which leaves out the buffers that a module calls not persistent: passes may change them, too.
    return itertools.chain(model.named_parameters(), model.named_buffers())
