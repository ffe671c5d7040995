"""Per-sample gradients of any module by ``torch.func``, in chunks that bound the memory they take."""

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from gradshape.clipping.per_sample import LossFn, Parameters, buffer_copies, norm_dtype, one_loss_per_sample, row_norms

# Gradient entries held at once unless told otherwise: 256 MiB in float32.
_CHUNK_ELEMENTS = 2**26

_Gradients = dict[str, Tensor]
# Parameters, rows and labels to the gradients of the rows' losses.
_Differentiate = Callable[[_Gradients, Tensor, Tensor], _Gradients]


@dataclass(frozen=True)
class Functional:
    """The :class:`PerSample` of any model.

    Attributes:
        norms: ``(B,)``.
        chunks: yields the gradients of consecutive rows, with a leading sample axis; always the same ones.
    """

    norms: Tensor
    chunks: Callable[[], Iterator[_Gradients]] = field(repr=False)

    def weighted_sum(self, weights: Tensor) -> dict[str, Tensor]:
        sums: _Gradients = {}
        start = 0
        for chunk in self.chunks():
            rows = len(next(iter(chunk.values())))
            for name, g in chunk.items():
                part = torch.tensordot(weights[start : start + rows].to(g.dtype), g, dims=1)
                sums[name] = sums[name] + part if name in sums else part
            start += rows
        return sums


def functional(
    model: nn.Module, parameters: Parameters, loss_fn: LossFn, x: Tensor, y: Tensor, *, chunk_size: int | None
) -> Functional:
    """The per-sample gradients of a batch.

    Taken by ``vmap(grad)``, or one sample at a time where ``vmap`` cannot batch a layer. Gradients that fit in one
    chunk are kept; others are computed a second time when they are summed, with the same random numbers.

    Args:
        model, loss_fn, x, y: as in :func:`gradshape.clipping.weighted_gradient`; at least one row.
        parameters: the trainable ones of ``model``, at least one.
        chunk_size: samples whose gradients are held at once; ``None`` for as many as have 2**26 entries together.

    Raises:
        ValueError: ``loss_fn`` does not return one loss per sample.
    """
    values = {name: p.detach() for name, p in parameters.items()}
    if chunk_size is None:
        chunk_size = max(1, _CHUNK_ELEMENTS // max(1, sum(p.numel() for p in values.values())))

    with_loss = _WithLoss(model, loss_fn)

    def loss_of_one(values: _Gradients, row: Tensor, label: Tensor) -> Tensor:
        state = {f"model.{name}": value for name, value in {**buffer_copies(model), **values}.items()}
        losses = functional_call(with_loss, state, (row.unsqueeze(0), label.unsqueeze(0)))
        return one_loss_per_sample(losses, 1).squeeze(0)

    def measure(differentiate: _Differentiate) -> Functional:
        state = _random_state(x.device)

        def chunks() -> Iterator[_Gradients]:
            for rows, labels in zip(x.split(chunk_size), y.split(chunk_size), strict=True):
                yield {name: g.detach() for name, g in differentiate(values, rows, labels).items()}

        def same_chunks() -> Iterator[_Gradients]:
            after = _random_state(x.device)
            _set_random_state(state, x.device)
            yield from chunks()
            _set_random_state(after, x.device)

        if len(x) <= chunk_size:
            (only,) = chunks()
            return Functional(_norms(only, dtype), lambda: iter([only]))
        return Functional(torch.cat([_norms(chunk, dtype) for chunk in chunks()]), same_chunks)

    dtype = norm_dtype(model)
    before = _random_state(x.device)
    gradient = grad(loss_of_one)
    try:
        return measure(_batched(gradient))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        # vmap does not know a layer, or the model branches on values. An error of the model itself comes up again.
        _set_random_state(before, x.device)
        return measure(_one_by_one(gradient))


class _WithLoss(nn.Module):
    """A model and its loss in one, so that a loss that looks at the model sees the parameters that count."""

    def __init__(self, model: nn.Module, loss_fn: LossFn) -> None:
        super().__init__()
        self.model = model
        self.loss_fn = loss_fn

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.loss_fn(self.model(x), y)


def _batched(gradient: _Differentiate) -> _Differentiate:
    batched: _Differentiate = vmap(gradient, in_dims=(None, 0, 0), randomness="different")

    def differentiate(values: _Gradients, rows: Tensor, labels: Tensor) -> _Gradients:
        with warnings.catch_warnings():
            # Some operators vmap itself takes one sample at a time, and says so.
            warnings.filterwarnings("ignore", message="There is a performance drop", category=UserWarning)
            return batched(values, rows, labels)

    return differentiate


def _one_by_one(gradient: _Differentiate) -> _Differentiate:
    def differentiate(values: _Gradients, rows: Tensor, labels: Tensor) -> _Gradients:
        of_each = [gradient(values, row, label) for row, label in zip(rows, labels, strict=True)]
        return {name: torch.stack([g[name] for g in of_each]) for name in values}

    return differentiate


def _norms(gradients: _Gradients, dtype: torch.dtype) -> Tensor:
    of_parameters = torch.stack([row_norms(g, dtype=dtype) for g in gradients.values()], dim=1)
    return row_norms(of_parameters, dtype=dtype)


def _random_state(device: torch.device) -> list[Tensor]:
    return [torch.get_rng_state()] + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


def _set_random_state(state: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(state[1], device)
