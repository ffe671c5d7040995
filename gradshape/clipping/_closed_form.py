"""Per-sample gradients of plain dense networks, whose forward and backward passes are written out here.

A small network computes in about the time that hooks and autograd take to follow it, so this does without both. The
gradients of the layers come from the same rule as elsewhere.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from gradshape.clipping._autocast import autocast_dtype
from gradshape.clipping._book_keeping import BookKeptGradients
from gradshape.clipping._row_losses import losses_of
from gradshape.clipping._rows import Rows
from gradshape.clipping._sequential_models import modules_in_order
from gradshape.clipping.protocol import LossFn, layer_names
from gradshape.clipping.rules import LayerGradients
from gradshape.clipping.rules._linear_layer import OneRow
from gradshape.clipping.structure import Structure


@dataclass(frozen=True, eq=False)
class DensePass:
    """The forward pass of a batch through a plain dense network.

    Attributes:
        structure: the network.
        linear: its Linear layers in order.
        inputs: the ``(B, d)`` inputs of each.
        logits: ``(B, C)``, outside of any graph.
    """

    structure: Structure
    linear: Sequence[nn.Linear]
    inputs: Sequence[Tensor]
    logits: Tensor

    @torch.no_grad()
    def gradients(self, gradient: Tensor) -> BookKeptGradients:
        """Take the per-sample gradients, given those of the losses in the logits."""
        structure, grads = self.structure, [gradient]
        for layer, a in zip(self.linear[:0:-1], self.inputs[:0:-1], strict=True):
            grads.append(torch.ops.aten.threshold_backward(torch.mm(grads[-1], layer.weight), a, 0))
        names = layer_names(structure.parameters)
        parts: dict[str, tuple[LayerGradients, Mapping[str, str]]] = {}
        for name, layer, a, d in zip(names, self.linear, self.inputs, reversed(grads), strict=True):
            prefix = f"{name}." if name else ""
            part = OneRow(a, d, True, layer.bias is not None, structure.dtype)
            parts[name] = part, {"weight": prefix + "weight", "bias": prefix + "bias"}
        squares = [part.squares for part, _ in parts.values()]
        stacked = torch.stack(squares) if len(squares) > 1 else squares[0].unsqueeze(0)
        return BookKeptGradients(structure.parameters, parts, (), names, stacked)


@torch.no_grad()
def dense_pass(structure: Structure, rows: Rows) -> DensePass | None:
    """Run a network of Linear layers with ReLU between, all of one dtype; ``None`` for any other model."""
    chain, x = _chain(structure.model), rows.single
    if chain is None or x is None or x.dtype != structure.dtype or x.dim() < 2 or (x.dim() > 2 and not chain.flattens):
        return None
    values = [p for layer in chain.linear for p in layer._parameters.values() if p is not None]
    if len(structure.parameters) < len(values) or any(p.dtype != x.dtype for p in values):
        return None
    if autocast_dtype(x.device) is not None:
        return None
    out = x.flatten(1)
    inputs = [out]
    for layer in chain.linear[:-1]:
        out = functional.linear(out, layer.weight, layer.bias).relu_()
        inputs.append(out)
    logits = functional.linear(out, chain.linear[-1].weight, chain.linear[-1].bias)
    return DensePass(structure, chain.linear, inputs, logits)


def closed_form(structure: Structure, loss_fn: LossFn, rows: Rows, labels: Rows) -> BookKeptGradients | None:
    """Take the per-sample gradients of a plain dense network; ``None`` for other models, and for losses that have to be
    differentiated together with the model.

    Args:
        structure: the model.
        loss_fn, rows, labels: as in :func:`gradshape.clipping.weighted_gradient`; at least one row.
    """
    forward = dense_pass(structure, rows)
    if forward is None:
        return None
    gradient = losses_of(structure).gradient(structure, loss_fn, forward.logits, labels)
    return None if gradient is None else forward.gradients(gradient)


@dataclass(frozen=True)
class _Chain:
    linear: list[nn.Linear]
    flattens: bool


def _chain(model: nn.Module) -> _Chain | None:
    """Return the Linear layers of a plain dense network; ``None`` if a forward pass may do anything else."""
    steps = modules_in_order(model)
    if not steps:
        return None
    flattens = type(steps[0]) is nn.Flatten and steps[0].start_dim == 1 and steps[0].end_dim == -1
    steps = steps[flattens:]
    linear, between = steps[::2], steps[1::2]
    if len(steps) % 2 == 0 or len({id(layer) for layer in linear}) < len(linear):
        return None
    if not all(type(layer) is nn.Linear for layer in linear) or not all(type(step) is nn.ReLU for step in between):
        return None
    return _Chain(linear, flattens)  # type: ignore[arg-type]
