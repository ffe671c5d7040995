"""Per-sample gradients of a module without a rule, which ``torch.func`` differentiates apart from the model."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from gradshape.clipping._autograd_graph import AutogradGraph
from gradshape.clipping._batch_axes import BatchAxes
from gradshape.clipping._recording import Layer, RecordedCall
from gradshape.clipping._vmapped import Gradients, VmappedGradients, vmapped_gradients
from gradshape.clipping.structure import Structure, tensors_in


def module_gradients(
    layer: Layer,
    axes: BatchAxes,
    backprops: Sequence[Tensor | None],
    uses: Mapping[int, int],
    *,
    dtype: torch.dtype,
) -> VmappedGradients | None:
    """Take the gradients of a layer's own parameters from its inputs and backprops.

    Returns ``None`` if they cannot be told apart by sample, or if the parameters are used elsewhere too.

    Args:
        layer: a layer that was called once.
        axes: the batch axes of that call.
        backprops: gradients of the summed losses, one an output; ``None`` where the losses do not depend on it.
        uses: how often each parameter enters the graph of the losses, by its ``id``.
        dtype: the dtype in which norms are accumulated.
    """
    call = layer.calls[0]
    reached: list[tuple[int, int, Tensor]] = []
    for place, (axis, grad) in enumerate(zip(axes.outputs, backprops, strict=True)):
        if grad is None:
            continue
        if axis is None:
            return None
        reached.append((place, axis, grad))
    if not _is_flat(call) or layer.module._forward_hooks or layer.module._forward_pre_hooks:
        return None
    module = Structure.of(layer.module)
    alone = _uses_alone(module, call, [place for place, _, _ in reached])
    if any(alone[id(p)] != uses[id(p)] for p in layer.parameters.values()):
        return None

    local = {name: name.removeprefix(f"{layer.name}.") if layer.name else name for name in layer.parameters}
    batched = [(tensor, axis) for tensor, axis in zip(call.tensors, axes.inputs, strict=True) if axis is not None]
    columns = [tensor.movedim(axis, 0) for tensor, axis in batched]
    columns += [grad.movedim(axis, 0) for _, axis, grad in reached]

    def sample_loss(values: Gradients, *row: Tensor) -> Tensor:
        inputs = [part.unsqueeze(axis) for part, (_, axis) in zip(row, batched, strict=False)]
        args, kwargs = _with_tensors(call, axes, inputs)
        own = {local[name]: value for name, value in values.items()}
        outputs = tensors_in(module.call(own, args, kwargs))
        products = [
            (outputs[place].squeeze(axis) * grad).sum()
            for (place, axis, _), grad in zip(reached, row[len(batched) :], strict=True)
        ]
        return torch.stack(products).sum()

    return vmapped_gradients(sample_loss, layer.parameters, columns, dtype=dtype)


def _is_flat(call: RecordedCall) -> bool:
    """Return whether every tensor is an argument itself, and none is part of a list, tuple or dict."""
    return not any(
        isinstance(value, tuple | list | dict) and tensors_in(value) for value in (*call.args, *call.kwargs.values())
    )


def _uses_alone(module: Structure, call: RecordedCall, places: Sequence[int]) -> Mapping[int, int]:
    with torch.enable_grad():
        outputs = tensors_in(module.call({}, call.args, call.kwargs))
        reached = [outputs[place] for place in places]
        return AutogradGraph(reached[0] if len(reached) == 1 else torch.cat([out.flatten() for out in reached])).uses


def _with_tensors(
    call: RecordedCall, axes: BatchAxes, inputs: Sequence[Tensor]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return the call's arguments with ``inputs`` in place of the tensors that have a batch axis."""
    left, tensor_axes = iter(inputs), iter(axes.inputs)

    def put(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value if next(tensor_axes) is None else next(left)

    return tuple(put(value) for value in call.args), {key: put(value) for key, value in call.kwargs.items()}
