"""Recording of what the layers of a model see and return in one forward pass."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast

from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.nn import functional

from gradshape.clipping._rows import Rows
from gradshape.clipping.rules import Rule, rule_of
from gradshape.clipping.rules._attention import PackedProjection, attend, covers_settings
from gradshape.clipping.rules._linear_layer import LinearRule
from gradshape.clipping.structure import Structure, tensors_in


@dataclass(frozen=True)
class RecordedCall:
    """One call of a layer: its inputs, and the places of its outputs in the autograd graph.

    Attributes:
        args, kwargs: the arguments that the layer got, tensors detached.
        versions: the version of each tensor among them, which counts how often it was written to.
        edges: the graph edge of each output; ``None`` if the output does not depend on a trainable parameter.
        shapes: the shape of each output.
    """

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    versions: tuple[int, ...]
    edges: tuple[GradientEdge | None, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def tensors(self) -> list[Tensor]:
        """The tensors among the inputs."""
        return [value for value in (*self.args, *self.kwargs.values()) if isinstance(value, Tensor)]

    @property
    def activations(self) -> Tensor:
        """The only input of a layer that has a rule."""
        activations: Tensor = self.args[0] if self.args else self.kwargs["input"]
        return activations

    @property
    def unchanged(self) -> bool:
        """Whether nothing was written to the inputs since the call."""
        return tuple(tensor._version for tensor in self.tensors) == self.versions


@dataclass(frozen=True)
class Layer:
    """A module that owns trainable parameters.

    Attributes:
        name: name of the module in the model.
        module: the module that is called.
        target: the object whose settings the rule reads: a packed projection, or the module itself.
        rule: the rule that covers it; ``None`` if none does.
        names: the model's names of the trainable parameters, by the names that ``target`` has for them.
        parameters: these parameters, by the model's names.
        calls: its calls in the last recorded forward pass.
        begun: versions of the inputs of calls that have not ended, for modules that may write to their inputs.
    """

    name: str
    module: nn.Module
    target: Any
    rule: Rule | None
    names: Mapping[str, str]
    parameters: Mapping[str, nn.Parameter]
    calls: list[RecordedCall] = field(default_factory=list)
    begun: list[tuple[int, ...]] = field(default_factory=list)


def layers_in(structure: Structure) -> list[Layer]:
    """Return the layers of a model in its order; a module that is used several times comes once."""
    layers = []
    for name, module in structure.modules.items():
        own = {key: p for key, p in module._parameters.items() if p is not None and p.requires_grad}
        if not own:
            continue
        rule, names = rule_of(module), {key: key for key in own}
        target: Any = module
        if rule is not None and not own.keys() <= {"weight", "bias"}:
            rule = None
        if isinstance(module, nn.MultiheadAttention) and covers_settings(module):
            rule, target = LinearRule(), PackedProjection(module.in_proj_weight, module.in_proj_bias)
            names = {key: local for key, local in PackedProjection.NAMES.items() if local in own}
        prefix = f"{name}." if name else ""
        layers.append(
            Layer(
                name,
                module,
                target,
                rule,
                {key: prefix + local for key, local in names.items()},
                {prefix + key: p for key, p in own.items()},
            )
        )
    return layers


def recorded_forward(structure: Structure, layers: Sequence[Layer], x: Rows) -> Any:
    """Return what the model gives for ``x``; note every call of ``layers`` in ``calls``, and leave the buffers."""
    for layer in layers:
        layer.calls.clear()
        layer.begun.clear()
    with watched(layers, _note):
        return structure.call({}, *x.arguments)


# Maps a layer, its arguments and its output to the output that replaces it, or to None to keep it.
See = Callable[[Layer, tuple[Any, ...], dict[str, Any], Any], Tensor | None]


@contextmanager
def watched(layers: Sequence[Layer], see: See) -> Iterator[None]:
    """Call ``see`` at every call of ``layers``, whose output it may replace."""
    undo: list[Callable[[], None]] = []
    try:
        for layer in layers:
            module = layer.module
            if isinstance(layer.target, PackedProjection):
                module.forward = partial(attend, cast("nn.MultiheadAttention", module), partial(_project, layer, see))
                undo.append(partial(delattr, module, "forward"))
            else:
                if layer.rule is None:
                    before = module.register_forward_pre_hook(partial(_begin, layer), with_kwargs=True)
                    undo.append(before.remove)
                # It comes before the hooks of others, which may replace the output.
                hook = module.register_forward_hook(partial(_end, layer, see), prepend=True, with_kwargs=True)
                undo.append(hook.remove)
        yield
    finally:
        for remove in undo:
            remove()


def _project(layer: Layer, see: See, x: Tensor) -> Tensor:
    # In a functional call the module has other parameters than those that the layer was found with.
    attention = cast("nn.MultiheadAttention", layer.module)
    projected = functional.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    instead = see(layer, (x,), {}, projected)
    return projected if instead is None else instead


def _begin(layer: Layer, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    layer.begun.append(tuple(tensor._version for tensor in tensors))


def _end(
    layer: Layer, see: See, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any
) -> Tensor | None:
    return see(layer, args, kwargs, output)


def _note(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], output: Any) -> None:
    layer.calls.append(_record(args, kwargs, output, layer.begun.pop() if layer.begun else None))


def _record(
    args: tuple[Any, ...], kwargs: dict[str, Any], output: Any, versions: tuple[int, ...] | None = None
) -> RecordedCall:
    args = tuple(value.detach() if isinstance(value, Tensor) else value for value in args)
    kwargs = {key: value.detach() if isinstance(value, Tensor) else value for key, value in kwargs.items()}
    tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
    outputs = tensors_in(output)
    return RecordedCall(
        args,
        kwargs,
        tuple(tensor._version for tensor in tensors) if versions is None else versions,
        tuple(_edge(out) for out in outputs),
        tuple(tuple(out.shape) for out in outputs),
    )


def _edge(output: Tensor) -> GradientEdge | None:
    # An in-place nonlinearity turns the tensor `output` into its own result, but not the edge. If `output` is a view
    # (inputs with a time axis), it would rewrite the edge of the view, so the edge of the whole tensor is kept.
    base = output._base if output._is_view() and output.is_contiguous() else None
    whole = base if base is not None and base.numel() == output.numel() else output
    return get_gradient_edge(whole) if whole.requires_grad else None
