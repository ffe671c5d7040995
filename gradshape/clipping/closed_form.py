"""Per-sample gradients in closed form: one forward, one backward, and no gradient that is thrown away.

Forward hooks keep the input of every layer and where in the autograd graph its output stands; one backward pass gives
the gradients at those places, and the rules of the layers do the rest. Bu et al. 2023, "Differentially private
optimization on large model at small cost": https://arxiv.org/abs/2210.00038.
"""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge
from torch.func import functional_call

from gradshape.clipping import linear
from gradshape.clipping.per_sample import LossFn, Parameters, buffer_copies, norm_dtype, one_loss_per_sample


@dataclass(frozen=True)
class _Call:
    """One call of a layer: its input, and its output's place in the autograd graph."""

    inputs: Tensor
    version: int
    edge: GradientEdge | None
    output_shape: torch.Size


@dataclass(frozen=True)
class _Reached:
    """A layer that the losses depend on, with ``(B, ..., d)`` inputs and ``(B, ..., p)`` output gradients."""

    layer: nn.Linear
    inputs: Tensor
    output_grads: Tensor


@dataclass(frozen=True)
class ClosedForm:
    """The :class:`PerSample` of a model whose trainable parameters all belong to layers that have a rule."""

    norms: Tensor
    parameters: Parameters = field(repr=False)
    reached: dict[str, _Reached] = field(repr=False)

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        sums = {}
        for prefix, r in self.reached.items():
            for name, total in linear.weighted_sum(r.layer, r.inputs, r.output_grads, weights).items():
                sums[f"{prefix}.{name}" if prefix else name] = total
        # In the model's order; what the losses do not depend on has gradient 0.
        return {name: sums[name] if name in sums else torch.zeros_like(p) for name, p in self.parameters.items()}


def closed_form(model: nn.Module, parameters: Parameters, loss_fn: LossFn, x: Tensor, y: Tensor) -> ClosedForm | None:
    """The batch's per-sample gradients, or ``None`` where the rules would not be exact.

    They are exact if every trainable parameter belongs to one ``nn.Linear`` alone, and each such layer is called at
    most once in a forward pass, with the batch as the first axis. What cannot be seen from the modules is read off
    the autograd graph, so that a weight that is also used by other means is not missed.

    Args:
        model, loss_fn, x, y: as in :func:`gradshape.clipping.weighted_gradient`; at least one row.
        parameters: the trainable ones of ``model``.

    Raises:
        ValueError: ``loss_fn`` does not return one loss per sample.
    """
    layers = _linear_layers(model)
    if layers is None:
        return None
    calls: dict[str, list[_Call]] = {name: [] for name in layers}
    with torch.enable_grad(), _recorded(layers, calls):
        losses = one_loss_per_sample(loss_fn(_forward(model, x), y), len(x))
    if not _one_batched_call_at_most(calls, len(x)) or _other_axis_may_be_the_batch(model, layers, calls, x):
        return None

    called = {name: of_layer[0] for name, of_layer in calls.items() if of_layer}
    reached = _backward(losses, layers, called)
    uses = _parameter_uses(losses)
    for name, layer in layers.items():
        expected = 1 if name in reached else 0
        if any(uses[id(p)] != expected for p in layer.parameters() if p.requires_grad):
            return None
    # An input that was written to after the call is no longer the layer's.
    if any(r.inputs._version != called[name].version for name, r in reached.items()):
        return None

    dtype = norm_dtype(model)
    squares = torch.zeros(len(x), dtype=dtype, device=losses.device)
    for r in reached.values():
        squares += linear.squared_norms(r.layer, r.inputs, r.output_grads, dtype=dtype)
    return ClosedForm(squares.sqrt(), parameters, reached)


def _linear_layers(model: nn.Module) -> dict[str, nn.Linear] | None:
    """The layers that hold the trainable parameters, by name; ``None`` if other modules hold some."""
    layers: dict[str, nn.Linear] = {}
    for name, module in model.named_modules():
        own = {key: p for key, p in module.named_parameters(recurse=False) if p.requires_grad}
        if not own:
            continue
        # Subclasses and patched instances may compute something else; parametrised weights go by other names.
        if type(module) is not nn.Linear or "forward" in vars(module) or not own.keys() <= {"weight", "bias"}:
            return None
        layers[name] = module
    return layers


def _forward(model: nn.Module, x: Tensor) -> Any:
    buffers = buffer_copies(model)
    return functional_call(model, buffers, (x,)) if buffers else model(x)


@contextmanager
def _recorded(layers: dict[str, nn.Linear], calls: dict[str, list[_Call]]) -> Iterator[None]:
    # Before the hooks of others, which may replace the output.
    handles = [
        layer.register_forward_hook(partial(_record, calls[name]), prepend=True, with_kwargs=True)
        for name, layer in layers.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _record(
    calls: list[_Call], layer: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], output: Tensor
) -> None:
    inputs = (args[0] if args else kwargs["input"]).detach()
    # An in-place activation turns the tensor `output` into its own result, but not the edge. Where `output` is a view
    # (inputs with a time axis), the activation would rewrite its edge, so that of the whole is kept.
    base = output._base if output._is_view() and output.is_contiguous() else None
    whole = base if base is not None and base.numel() == output.numel() else output
    edge = get_gradient_edge(whole) if whole.requires_grad else None
    calls.append(_Call(inputs, inputs._version, edge, output.shape))


def _one_batched_call_at_most(calls: dict[str, list[_Call]], batch_size: int) -> bool:
    return all(
        len(of_layer) <= 1
        and all(c.edge is not None and c.inputs.dim() >= 2 and len(c.inputs) == batch_size for c in of_layer)
        for of_layer in calls.values()
    )


def _other_axis_may_be_the_batch(
    model: nn.Module, layers: dict[str, nn.Linear], calls: dict[str, list[_Call]], x: Tensor
) -> bool:
    """Whether a first axis that is as long as the batch is something else, as in a sequence-first model."""
    between = [math.prod(c.inputs.shape[1:-1]) for of_layer in calls.values() for c in of_layer if c.inputs.dim() > 2]
    if len(x) == 1 or all(count % len(x) for count in between):
        return False
    of_one: dict[str, list[_Call]] = {name: [] for name in layers}
    with torch.enable_grad(), _recorded(layers, of_one):
        _forward(model, x[:1])
    return not _one_batched_call_at_most(of_one, 1)


def _backward(losses: Tensor, layers: dict[str, nn.Linear], called: dict[str, _Call]) -> dict[str, _Reached]:
    edges = [call.edge for call in called.values() if call.edge is not None]
    if not losses.requires_grad or not edges:
        return {}
    grads = torch.autograd.grad(losses, edges, torch.ones_like(losses), allow_unused=True)
    return {
        name: _Reached(layers[name], call.inputs, grad.reshape(call.output_shape))
        for (name, call), grad in zip(called.items(), grads, strict=True)
        if grad is not None
    }


def _parameter_uses(losses: Tensor) -> Counter[int]:
    """How often each parameter enters the graph below ``losses``, by id."""
    uses: Counter[int] = Counter()
    seen: set[Node] = set()
    open_nodes: list[Node | None] = [losses.grad_fn]
    while open_nodes:
        node = open_nodes.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for below, _ in node.next_functions:
            leaf = getattr(below, "variable", None)
            if leaf is not None:
                uses[id(leaf)] += 1
            else:
                open_nodes.append(below)
    return uses
