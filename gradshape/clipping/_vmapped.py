"""Per-sample gradients of any model by ``torch.func``, in chunks of rows that bound the memory they take."""

import warnings
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from gradshape._randomness import HostState, set_torch_state, torch_state
from gradshape.clipping._autocast import without_autocast
from gradshape.clipping._generators import Drawn, Draws, drawing_from
from gradshape.clipping._rows import Rows
from gradshape.clipping.protocol import (
    LossFn,
    layer_names,
    one_loss_per_sample,
    owner,
    row_norms,
)
from gradshape.clipping.structure import Structure

# Elements of the gradients held at once: 256 MiB in float32.
_CHUNK_ELEMENTS = 2**26

Gradients = dict[str, Tensor]
# Maps parameters and one sample's row of every column to the sample's loss, a scalar.
SampleLoss = Callable[..., Tensor]
# Maps parameters and columns to the gradients of the rows' losses.
Differentiate = Callable[..., Gradients]


@dataclass(frozen=True)
class VmappedGradients:
    """The :class:`PerSample` of any model.

    Attributes:
        layers: names of the ``L`` layers.
        squares: ``(L, B)`` squared norms of each layer's part.
        chunks: yields the gradients of consecutive rows, with a leading sample axis.
        drawn: what random numbers ``chunks`` has to draw again; ``None`` for none.
    """

    layers: tuple[str, ...]
    squares: Tensor
    chunks: Callable[[], Iterator[Gradients]] = field(repr=False)
    drawn: Drawn | None = field(default=None, repr=False)

    @property
    def norms(self) -> Tensor:
        return self.squares.sum(0).sqrt()

    def weighted_sum(self, weights: Tensor, *, only: Collection[str] | None = None) -> dict[str, Tensor]:
        with nullcontext() if self.drawn is None else self.drawn.again():
            return self._weighted_sum(weights, only)

    def _weighted_sum(self, weights: Tensor, only: Collection[str] | None) -> dict[str, Tensor]:
        sums: Gradients = {}
        start = 0
        for chunk in self.chunks():
            rows = len(next(iter(chunk.values())))
            chunk_weights = weights[..., start : start + rows]
            for name, g in chunk.items():
                if only is not None and owner(name) not in only:
                    continue
                w = chunk_weights if weights.dim() == 1 else chunk_weights[self.layers.index(owner(name))]
                with without_autocast(g.device):
                    part = torch.tensordot(w.to(g.dtype), g, dims=1)
                sums[name] = sums[name] + part if name in sums else part
            start += rows
        return sums


def model_gradients(
    structure: Structure,
    parameters: Mapping[str, Tensor],
    loss_fn: LossFn,
    x: Rows,
    y: Rows,
    *,
    host: HostState | None = None,
) -> VmappedGradients:
    """Take the per-sample gradients of some or all parameters of a model.

    Args:
        structure: the model.
        parameters: those to differentiate in, by name; at least one.
        loss_fn, x, y: as in :func:`gradshape.clipping.weighted_gradient`; at least one row.
        host: where every pass draws Python's and NumPy's numbers from, if the model does.

    Raises:
        ValueError: ``loss_fn`` does not return one loss per sample.
    """
    with_loss = replace(Structure.of(_WithLoss(structure.model, loss_fn)), before=structure.before)

    def sample_loss(values: Gradients, *row: Tensor) -> Tensor:
        inside = {f"model.{name}": value for name, value in values.items()}
        with drawing_from(host):
            losses = with_loss.call(inside, joined(x, y, row))
        return one_loss_per_sample(losses, 1).squeeze(0)

    return vmapped_gradients(sample_loss, parameters, (*x.tensors, *y.tensors), dtype=structure.dtype)


def vmapped_gradients(
    sample_loss: SampleLoss, parameters: Mapping[str, Tensor], columns: Sequence[Tensor], *, dtype: torch.dtype
) -> VmappedGradients:
    """Take the gradients of ``sample_loss(parameters, *row)`` for every row of ``columns``.

    They are taken by ``vmap(grad)``, or one sample at a time where ``vmap`` cannot batch an operation. Gradients that
    fit in one chunk of 2**26 elements are kept; others are computed a second time when they are summed, with the same
    random numbers.

    Args:
        sample_loss: the loss of one sample, differentiable in the parameters that it is given.
        parameters: at least one, by name.
        columns: tensors with equally many rows, at least one.
        dtype: the dtype in which norms are accumulated.
    """
    before = torch_state(columns[0].device)
    try:
        return gradients_in_chunks(_batched(grad(sample_loss), len(columns)), parameters, columns, dtype=dtype)
    except torch.OutOfMemoryError:
        raise
    except Exception:
        # vmap does not know a layer, or the model branches on values. An error of the model itself is raised again.
        set_torch_state(before, columns[0].device)
        return gradients_in_chunks(_one_by_one(sample_loss), parameters, columns, dtype=dtype)


def gradients_in_chunks(
    differentiate: Differentiate, parameters: Mapping[str, Tensor], columns: Sequence[Tensor], *, dtype: torch.dtype
) -> VmappedGradients:
    """Take gradients by ``differentiate``, in chunks of rows; other arguments as of :func:`vmapped_gradients`."""
    values = {name: p.detach() for name, p in parameters.items()}
    chunk_size = max(1, _CHUNK_ELEMENTS // max(1, sum(p.numel() for p in values.values())))
    layers, device = layer_names(values), columns[0].device
    draws = Draws(device, host=False)

    def chunks() -> Iterator[Gradients]:
        for parts in zip(*(column.split(chunk_size) for column in columns), strict=True):
            yield {name: g.detach() for name, g in differentiate(values, *parts).items()}

    if len(columns[0]) <= chunk_size:
        (only,) = chunks()
        return VmappedGradients(layers, _squares(only, layers, dtype), lambda: iter([only]))
    squares = torch.cat([_squares(chunk, layers, dtype) for chunk in chunks()], dim=1)
    drawn = draws.drawn()
    return VmappedGradients(layers, squares, chunks, drawn if drawn.anything else None)


def joined(x: Rows, y: Rows, row: Sequence[Tensor]) -> tuple[Rows, Rows]:
    """Return a batch of one row, given that row of every tensor in ``x`` and ``y``."""
    parts, inputs = [part.unsqueeze(0) for part in row], len(x.tensors)
    return x.with_tensors(parts[:inputs]), y.with_tensors(parts[inputs:])


class _WithLoss(nn.Module):
    """A model and its loss in one module, so that a loss that looks at the model sees its replaced parameters."""

    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model = model
        self.loss_fn = loss_fn

    def forward(self, x: Rows, y: Rows) -> Tensor:
        args, kwargs = x.clone().arguments
        return self.loss_fn(self.model(*args, **kwargs), y.value)


def _batched(gradient: Differentiate, columns: int) -> Differentiate:
    batched: Differentiate = vmap(gradient, in_dims=(None, *[0] * columns), randomness="different")

    def differentiate(values: Gradients, *parts: Tensor) -> Gradients:
        with warnings.catch_warnings():
            # vmap warns of the operators that it takes one sample at a time.
            warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
            return batched(values, *parts)

    return differentiate


def _one_by_one(sample_loss: SampleLoss) -> Differentiate:
    def gradient(values: Gradients, *row: Tensor) -> Gradients:
        leaves = {name: value.detach().requires_grad_() for name, value in values.items()}
        with torch.enable_grad():
            loss = sample_loss(leaves, *row)
        return gradients_of(loss, leaves)

    return stacked(gradient)


def stacked(gradient: Differentiate) -> Differentiate:
    """Return what differentiates rows one by one, given what differentiates one."""

    def differentiate(values: Gradients, *parts: Tensor) -> Gradients:
        gradients = [gradient(values, *row) for row in zip(*parts, strict=True)]
        return {name: torch.stack([g[name] for g in gradients]) for name in values}

    return differentiate


def gradients_of(loss: Tensor, leaves: Mapping[str, Tensor]) -> Gradients:
    """Return the gradients of a scalar by autograd, 0 where it does not depend on a leaf."""
    grads: Sequence[Tensor | None] = [None] * len(leaves)
    if loss.requires_grad:
        grads = torch.autograd.grad(loss, list(leaves.values()), allow_unused=True)
    by_name = zip(leaves.items(), grads, strict=True)
    return {name: torch.zeros_like(p) if g is None else g.to_dense() for (name, p), g in by_name}


def _squares(gradients: Gradients, layers: Sequence[str], dtype: torch.dtype) -> Tensor:
    totals: dict[str, Tensor] = {}
    for name, g in gradients.items():
        layer, squares = owner(name), row_norms(g, dtype=dtype).square()
        totals[layer] = totals[layer] + squares if layer in totals else squares
    return torch.stack([totals[layer] for layer in layers])
