"""Which axis of a layer's inputs and outputs is the batch."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch

from gradshape._randomness import exclusive_randomness, set_torch_state, torch_state
from gradshape.clipping._attempts import rows_on_their_own
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._recording import Layer, RecordedCall, layers_in, recorded_forward


@dataclass(frozen=True)
class BatchAxes:
    """The batch axis of every tensor that one call of a layer got and returned; ``None`` for a tensor without one."""

    inputs: tuple[int | None, ...]
    outputs: tuple[int | None, ...]


def batch_axes(forward: ForwardPass) -> Mapping[str, BatchAxes]:
    """Find the batch axes of the layers that were called once, by name; layers whose axes are unclear are left out.

    An axis as long as the batch may be another one, so a second forward pass with another number of rows shows which
    axis changes with it. It draws the same random numbers as the first.
    """
    layers, x = forward.layers, forward.x
    again = layers_in(forward.structure)
    probe = x[:1].clone() if len(x) > 1 else x[torch.zeros(2, dtype=torch.int64, device=x.device)]
    # With gradients, as the forward pass may ask for some.
    with torch.enable_grad(), rows_on_their_own(forward.structure, len(probe)):
        if forward.drawn is not None:
            with forward.drawn.again():
                recorded_forward(forward.structure, again, probe)
        else:
            with exclusive_randomness():
                before = torch_state(x.device)
                recorded_forward(forward.structure, again, probe)
                set_torch_state(before, x.device)
    found = {}
    for layer, other in zip(layers, again, strict=True):
        if len(layer.calls) == len(other.calls) == 1:
            axes = _changing_axes(layer.calls[0], other.calls[0], (len(x), len(probe)))
            if axes is not None and _fit(layer, axes):
                found[layer.name] = axes
    return found


def _fit(layer: Layer, axes: BatchAxes) -> bool:
    if layer.rule is None:
        return any(axis is not None for axis in axes.inputs)
    (axis,) = axes.inputs
    return axis in layer.rule.batch_axes(layer.target, layer.calls[0].activations) and axes.outputs == (axis,)


def _changing_axes(call: RecordedCall, other: RecordedCall, batch_sizes: tuple[int, int]) -> BatchAxes | None:
    """Return the axes that are as long as the batch in both calls; ``None`` if anything else differs between them."""
    if len(call.tensors) != len(other.tensors) or len(call.shapes) != len(other.shapes):
        return None
    shapes = [(tuple(one.shape), tuple(two.shape)) for one, two in zip(call.tensors, other.tensors, strict=True)]
    inputs = [_axis(*pair, batch_sizes) for pair in shapes]
    outputs = [_axis(*pair, batch_sizes) for pair in zip(call.shapes, other.shapes, strict=True)]
    if -1 in inputs or -1 in outputs:
        return None
    return BatchAxes(tuple(inputs), tuple(outputs))


def _axis(one: tuple[int, ...], other: tuple[int, ...], batch_sizes: tuple[int, int]) -> int | None:
    """Return the only axis that differs, ``None`` if none does, or -1 if the shapes differ in any other way."""
    if len(one) != len(other):
        return -1
    differing = [axis for axis, (a, b) in enumerate(zip(one, other, strict=True)) if a != b]
    if not differing:
        return None
    (axis, *more) = differing
    return -1 if more or (one[axis], other[axis]) != batch_sizes else axis
