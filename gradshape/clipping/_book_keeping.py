"""Per-sample gradients from one forward and one backward pass that computes no gradients of parameters.

Forward hooks keep the activations of every layer and the place of its output in the autograd graph; one backward pass
gives the backprops at those places, and the rules of the layers do the rest. Bu et al. 2023, "Differentially private
optimization on large model at small cost": https://arxiv.org/abs/2210.00038.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from gradshape._randomness import set_torch_state, torch_state
from gradshape.clipping._autocast import without_autocast
from gradshape.clipping._batch_axes import BatchAxes
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._recording import Layer
from gradshape.clipping._single_module import module_gradients
from gradshape.clipping._vmapped import Gradients, VmappedGradients, model_gradients
from gradshape.clipping.protocol import Parameters, layer_names, owner
from gradshape.clipping.rules import Call, LayerGradients

# Entries of formed gradients held until the weights are known: 256 MiB in float32.
_KEPT_ELEMENTS = 2**26


@dataclass(frozen=True)
class BookKeptGradients:
    """The :class:`PerSample` of a model, layer by layer.

    Attributes:
        parameters: all trainable parameters, by name.
        parts: of each layer with a rule, its gradients and the model's names for its parameters by the layer's names.
        others: the gradients of the parameters that no rule covers.
        layers: names of the ``L`` layers.
        squares: ``(L, B)`` squared norms of each layer's part.
    """

    parameters: Parameters = field(repr=False)
    parts: Mapping[str, tuple[LayerGradients, Mapping[str, str]]] = field(repr=False)
    others: Sequence[VmappedGradients] = field(repr=False)
    layers: tuple[str, ...]
    squares: Tensor

    @cached_property
    def norms(self) -> Tensor:
        return (self.squares[0] if len(self.layers) == 1 else self.squares.sum(0)).sqrt()

    def weighted_sum(self, weights: Tensor, *, only: Collection[str] | None = None) -> dict[str, Tensor]:
        sums: Gradients = {}
        with without_autocast(weights.device):
            for layer, (gradients, names) in self.parts.items():
                if only is not None and layer not in only:
                    continue
                layer_weights = weights if weights.dim() == 1 else weights[self.layers.index(layer)]
                for key, total in gradients.weighted_sum(layer_weights).items():
                    sums[names[key]] = total
        for other in self.others:
            if only is not None and not set(other.layers) & set(only):
                continue
            places = [self.layers.index(layer) for layer in other.layers]
            sums.update(other.weighted_sum(weights if weights.dim() == 1 else weights[places], only=only))
        # In the model's order. Parameters that the losses do not depend on have gradient 0.
        chosen = self.parameters if only is None else {n: p for n, p in self.parameters.items() if owner(n) in only}
        return {name: sums[name].to(p.dtype) if name in sums else torch.zeros_like(p) for name, p in chosen.items()}


def book_keeping(forward: ForwardPass, axes: Mapping[str, BatchAxes]) -> BookKeptGradients | None:
    """Take the batch's per-sample gradients; return ``None`` if only differentiating each sample alone is exact.

    A rule is exact for a layer that alone holds its parameters and is called at most once in a forward pass, on
    inputs with a batch axis. The autograd graph shows uses that modules do not, so that a weight that is also used by
    other means is not missed. Parameters that no rule covers are differentiated by ``torch.func``: with their module
    alone where that is exact, else with the whole model. Neither is exact for a model that draws random numbers. None
    of this is exact for a model whose layers see the rows in another order than the losses: that is for
    :mod:`gradshape.clipping._row_check` to find out.

    Args:
        forward: the forward pass of the batch; this is its last use.
        axes: the batch axes of the layers.
    """
    structure, layers, x = forward.structure, forward.layers, forward.x
    dtype, parameters, uses = structure.dtype, structure.parameters, forward.graph.uses
    backprops = _backward(forward.out, forward.out_grad, layers)

    parts: dict[str, tuple[LayerGradients, Mapping[str, str]]] = {}
    squares: dict[str, Tensor] = {}
    without_rule: list[Layer] = []
    rest: list[str] = []
    keep, several = _KEPT_ELEMENTS, _held_by_several(layers)
    for layer in layers:
        entries = {uses[id(p)] for p in layer.parameters.values()}
        grads = backprops.get(layer.name, ())
        if entries == {0}:
            continue
        if layer.name in several or layer.name not in axes or not layer.calls[0].unchanged or not grads:
            rest += layer.parameters
        elif layer.rule is None:
            without_rule.append(layer)
        elif entries != {1}:
            rest += layer.parameters
        else:
            call = _call(layer, axes[layer.name], grads[0], dtype)
            elements = len(x) * layer.rule.gradient_elements(layer.target)
            with without_autocast(x.device):
                part = layer.rule.gradients(layer.target, call, keep=elements <= keep)
                keep -= elements if elements <= keep else 0
                parts[layer.name], squares[layer.name] = (part, layer.names), part.squares
    others: list[VmappedGradients] = []
    if (without_rule or rest) and forward.drawn is not None and forward.drawn.host is not None:
        return None
    if without_rule or rest:
        before = torch_state(x.device)
        for layer in without_rule:
            alone = module_gradients(layer, axes[layer.name], backprops[layer.name], uses, dtype=dtype)
            if alone is None:
                rest += layer.parameters
            else:
                others.append(alone)
        if rest:
            # A parameter that several layers hold has its gradient under its first name.
            left = {name: parameters[name] for name in rest if name in parameters}
            others.append(model_gradients(structure, left, forward.loss_fn, x, forward.y))
        if any(not torch.equal(*pair) for pair in zip(before, torch_state(x.device), strict=True)):
            # These gradients belong to other random numbers than those of the forward pass.
            set_torch_state(before, x.device)
            return None
    for other in others:
        squares.update(zip(other.layers, other.squares, strict=True))
    names = layer_names(parameters)
    none = torch.zeros(len(x), dtype=dtype, device=forward.out.device)
    return BookKeptGradients(parameters, parts, others, names, torch.stack([squares.get(name, none) for name in names]))


def _call(layer: Layer, axes: BatchAxes, backprop: Tensor | None, dtype: torch.dtype) -> Call:
    (axis,) = axes.inputs
    assert axis is not None
    assert backprop is not None
    activations = layer.calls[0].activations
    if axis:
        activations, backprop = activations.movedim(axis, 0), backprop.movedim(axis, 0)
    if activations.is_floating_point() and activations.dtype != backprop.dtype:
        # A layer that casts its input, as all do under autocast.
        activations, backprop = activations.to(dtype), backprop.to(dtype)
    return Call(activations, backprop, dtype)


def _held_by_several(layers: Sequence[Layer]) -> set[str]:
    """Return the names of layers with a parameter that other layers hold too."""
    holders = Counter(id(p) for layer in layers for p in layer.parameters.values())
    return {layer.name for layer in layers if any(holders[id(p)] > 1 for p in layer.parameters.values())}


def _backward(out: Tensor, out_grad: Tensor, layers: Sequence[Layer]) -> dict[str, tuple[Tensor | None, ...]]:
    """Return the backprops of the layers that were called once and that ``out`` depends on, by name."""
    called = [layer for layer in layers if len(layer.calls) == 1]
    edges = [edge for layer in called for edge in layer.calls[0].edges if edge is not None]
    if not out.requires_grad or not edges:
        return {}
    edge_grads = iter(torch.autograd.grad(out, edges, out_grad, allow_unused=True))
    found = {}
    for layer in called:
        call = layer.calls[0]
        grads = [None if edge is None else next(edge_grads) for edge in call.edges]
        if any(grad is not None for grad in grads):
            shaped = zip(grads, call.shapes, strict=True)
            found[layer.name] = tuple(None if grad is None else grad.reshape(shape) for grad, shape in shaped)
    return found
