"""Per-sample gradients of many models of one architecture in one pass, by ``vmap`` over the models.

A term that is zero is added to every layer's output. The gradient in that term is the layer's backprops, and the pass
returns the layer's activations beside it. The rules then take the samples of all models as one batch.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional

from gradshape.clipping import _tolerance
from gradshape.clipping._batch_axes import batch_axes
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._generators import Draws
from gradshape.clipping._independence import checked_rows
from gradshape.clipping._module_locks import held
from gradshape.clipping._recording import Layer, layers_in, watched
from gradshape.clipping._rows import Rows
from gradshape.clipping._sequential_models import takes_row_by_row
from gradshape.clipping._tolerance import layer_sizes, within
from gradshape.clipping._vmapped import gradients_of
from gradshape.clipping.rules import Call, LayerGradients
from gradshape.clipping.structure import Structure

# Elements of the formed gradients of one model that are held until the weights are known: 256 MiB in float32.
_KEPT_ELEMENTS = 2**26
_LOSS = nn.CrossEntropyLoss(reduction="none")
_EXACT = torch.finfo(torch.float64).eps


class NotStackable(RuntimeError):
    """``vmap`` does not know what models do with these rows, though it knew what they did with others."""


@contextmanager
def _known_to_vmap() -> Iterator[None]:
    """Raise :class:`NotStackable` in place of the errors of ``vmap``, and of those of a model that may be its doing."""
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        raise NotStackable(str(error)) from error


@dataclass(frozen=True)
class EnsembleGradients:
    """The per-sample gradients of ``K`` models on one batch.

    Attributes:
        layers: names of the ``L`` layers.
        squares: ``(L, K, B)`` squared norms of each layer's part.
        parts: of each layer, its gradients and the model's names for its parameters by the layer's names.
    """

    layers: tuple[str, ...]
    squares: Tensor
    parts: Sequence[tuple[LayerGradients, Mapping[str, str]]] = field(repr=False)

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        """Return ``sum_i weights_ki g_ki`` for ``(K, B)`` or ``(L, K, B)`` weights: ``(K, *shape)`` a parameter."""
        sums = {}
        for place, (gradients, names) in enumerate(self.parts):
            layer_weights = weights if weights.dim() == 2 else weights[place]
            for key, total in gradients.weighted_sum(layer_weights).items():
                sums[names[key]] = total
        return sums


class ModelEnsemble:
    """Models of one architecture that run together, on parameters stacked as by ``torch.func.stack_module_state``.

    Args:
        structure: a model of the architecture; its own parameters are not used.
        layers: all layers with trainable parameters, each of which has a rule.
        outputs: shape of one sample's output of each layer, by the layer's name.
    """

    def __init__(self, structure: Structure, layers: Sequence[Layer], outputs: Mapping[str, tuple[int, ...]]) -> None:
        self._structure = structure
        self._layers = layers
        self._outputs = outputs
        self._proven = takes_row_by_row(structure.model)
        self._exact: set[tuple[int, ...]] = set()

    @classmethod
    def of(cls, model: nn.Module, x: Tensor) -> "ModelEnsemble | None":
        """Return the ensemble of models like ``model``, or ``None`` if they cannot be stacked.

        They can if every trainable parameter belongs to one layer that has a rule and is called once with the batch as
        its first axis, the model draws no random numbers and has no buffers, and ``vmap`` knows all that it does.

        Args:
            model: a model of the architecture.
            x: ``(B, ...)`` rows to try it on, at least 2.
        """
        structure = Structure.of(model)
        layers = layers_in(structure)
        if structure.buffers or structure.aliases or not layers or any(layer.rule is None for layer in layers):
            return None
        y = torch.zeros(len(x), dtype=torch.int64, device=x.device)
        with held(structure.modules.values()):
            try:
                forward = ForwardPass.of(structure, _LOSS, Rows.of(x), Rows.of(y), Draws(x.device, host=True))
            except ValueError:  # These are no logits.
                return None
            if forward.draws or forward.graph.moves_by_value:
                return None
            axes = batch_axes(forward)
        called = forward.layers
        for layer in called:
            uses = {forward.graph.uses[id(p)] for p in layer.parameters.values()}
            if uses != {1} or layer.name not in axes or axes[layer.name].inputs != (0,):
                return None
        stacked = cls(structure, called, {layer.name: layer.calls[0].shapes[0][1:] for layer in called})
        once = {name: p.detach().unsqueeze(0) for name, p in model.named_parameters()}
        try:
            # Rows of each model's own are a batch to vmap, too, which some code may branch on that the others may not.
            stacked._gradients(once, x.unsqueeze(0), y.unsqueeze(0))
            return stacked if stacked._is_exact(once, x, y) else None
        except RuntimeError:  # vmap does not know an operation, or the model branches on values.
            return None

    @property
    def output_elements(self) -> int:
        """The number of elements of one sample's outputs of all layers."""
        return sum(map(math.prod, self._outputs.values()))

    @_known_to_vmap()
    def gradients(self, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> EnsembleGradients:
        """Take the per-sample gradients of the cross-entropy.

        Args:
            parameters: ``(K, *shape)`` of all parameters by name, also of those that are not trained.
            x: ``(B, ...)`` rows that all models see, or ``(K, B, ...)`` rows for each model.
            y: ``(B,)`` or ``(K, B)`` int64 classes.

        Raises:
            ValueError: batches of this size are mixed.
            NotStackable: the models branch on values in batches of this size, or take a step that ``vmap`` does not
                know.
        """
        own = y.dim() == 2
        shape = x.shape[int(own) :]
        if not self._proven and shape not in self._exact:
            if not self._is_exact(parameters, x[0] if own else x, y[0] if own else y):
                raise ValueError(
                    f"model: {type(self._structure.model).__name__} gives rows in a batch of {y.shape[-1]} another "
                    "gradient than alone: expected a model that gives a row the same whatever rows are beside it"
                )
            self._exact.add(tuple(shape))
        return self._gradients(parameters, x, y)

    def _gradients(self, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> EnsembleGradients:
        in_dim = 0 if y.dim() == 2 else None
        like = next(iter(parameters.values()))
        num_models = len(like)
        terms = {name: like.new_zeros(()).expand(y.shape[-1], *shape) for name, shape in self._outputs.items()}
        differentiate = vmap(grad(self._summed_loss, argnums=1, has_aux=True), in_dims=(0, None, in_dim, in_dim))
        backprops, activations = differentiate(dict(parameters), terms, x, y)
        dtype = torch.promote_types(torch.float32, like.dtype)
        keep = _KEPT_ELEMENTS
        parts, squares = [], []
        for layer in self._layers:
            assert layer.rule is not None
            call = Call(activations[layer.name].flatten(0, 1), backprops[layer.name].flatten(0, 1), dtype)
            # Counted for one model, so that a model's numbers do not depend on how many there are.
            elements = y.shape[-1] * layer.rule.gradient_elements(layer.target)
            part = layer.rule.gradients(layer.target, call, keep=elements <= keep)
            keep -= elements if elements <= keep else 0
            parts.append((part, layer.names))
            squares.append(part.squares.view(num_models, -1))
        return EnsembleGradients(tuple(layer.name for layer in self._layers), torch.stack(squares), parts)

    @_known_to_vmap()
    @torch.no_grad()
    def logits(self, parameters: Mapping[str, Tensor], x: Tensor, *, own: bool) -> Tensor:
        """Return the ``(K, M, C)`` logits of ``(M, ...)`` rows, or ``(K, M, ...)`` of each model's own.

        Raises:
            NotStackable: as by :meth:`gradients`.
        """

        def forward(values: dict[str, Tensor], rows: Tensor) -> Tensor:
            # The layers are watched only so that attention takes the form that vmap knows.
            with held(self._structure.modules.values()), watched(self._layers, lambda *_: None):
                logits: Tensor = self._structure.call(values, (rows,))
            return logits

        logits: Tensor = vmap(forward, in_dims=(0, 0 if own else None))(dict(parameters), x)
        return logits

    def _is_exact(self, parameters: Mapping[str, Tensor], x: Tensor, y: Tensor) -> bool:
        """Return whether the first model gives a few of its rows what plain autograd gives them alone, in float64.

        Raises:
            RuntimeError: ``vmap`` does not know an operation.
        """
        first = {name: p[:1].double() if p.is_floating_point() else p[:1] for name, p in parameters.items()}
        x = x.double() if x.is_floating_point() else x
        rows = checked_rows(len(x))
        weights = torch.zeros(1, len(x), dtype=torch.float64, device=x.device)
        weights[0, rows] = torch.arange(1.0, 1 + len(rows), dtype=torch.float64, device=x.device)
        got = self._gradients(first, x, y).weighted_sum(weights)
        leaves = {name: first[name][0].requires_grad_() for name in got}
        values = {name: p[0].detach() for name, p in first.items()} | leaves
        with torch.enable_grad():
            losses = [_LOSS(self._structure.call(values, (x[row : row + 1],)), y[row : row + 1]) for row in rows]
            expected = gradients_of((torch.cat(losses) * weights[0, rows]).sum(), leaves)
        differences = layer_sizes({name: got[name][0] - g for name, g in expected.items()})
        return within(differences, layer_sizes(expected), _tolerance.other_pass(_EXACT), _EXACT)

    def _summed_loss(
        self, parameters: dict[str, Tensor], terms: dict[str, Tensor], x: Tensor, y: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        seen: dict[str, Tensor] = {}

        def see(layer: Layer, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> Tensor:
            seen[layer.name] = args[0] if args else kwargs["input"]
            return output + terms[layer.name]

        with held(self._structure.modules.values()), watched(self._layers, see):
            logits = self._structure.call(parameters, (x,))
        return functional.cross_entropy(logits, y, reduction="sum"), seen
