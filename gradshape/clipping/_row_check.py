"""The comparison of per-sample gradients, taken in whatever way, with plain autograd.

Two tests tell. The sum of the gradients under random weights is compared with that of autograd in the graph of the same
batch: it is linear in the weights, so that a single row at the wrong place shows. And the gradients of a few rows are
compared with those that the rows have alone.
"""

from collections.abc import Mapping
from functools import cached_property

import torch
from torch import Tensor

from gradshape.clipping import _tolerance
from gradshape.clipping._attempts import attempted
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._independence import checked_rows
from gradshape.clipping._row_by_row import row_alone
from gradshape.clipping._tolerance import layer_sizes, within
from gradshape.clipping._vmapped import Gradients
from gradshape.clipping.protocol import PerSample


class RowCheck:
    """Compares gradients with those of plain autograd.

    Args:
        forward: the forward pass of the batch, not yet used for a backward pass.
        repeatable: whether rows that are run again draw what they drew, or draw nothing.
    """

    def __init__(self, forward: ForwardPass, *, repeatable: bool) -> None:
        self._forward = forward
        self._comparable = repeatable and not forward.draws
        self._weights: Tensor | None = None
        self._sum: Gradients = {}
        if forward.out.requires_grad:
            self._weights, self._sum = _weighted_sum(forward)

    def agrees_in_batch(self, gradients: PerSample) -> bool:
        """Return whether the sum under random weights is that of autograd in the graph of the batch."""
        if self._weights is None:
            return not bool(gradients.squares.any())
        rounding = self._forward.rounding
        spread = (gradients.squares * self._weights.square()).sum(1).sqrt()
        sizes = dict(zip(gradients.layers, spread, strict=True))
        differences = _differences(gradients.weighted_sum(self._weights), self._sum)
        return within(differences, sizes, _tolerance.same_pass(rounding), rounding)

    def agrees_alone(self, gradients: PerSample) -> bool:
        """Return whether rows have the norms and the gradients that they have alone; true where that cannot be told.

        Rounding may put a row to the other side of a kink, in one pass of two, so that one row of three may differ but
        in float64.
        """
        if not self._comparable:
            return True
        wrong = sum(not self._has(gradients, row, expected) for row, expected in self._alone.items())
        return wrong == 0 or (self._forward.rounding > 1e-12 and 2 * wrong < len(self._alone))

    def conclusive(self, gradients: PerSample) -> bool:
        """Return whether the check would have shown a fault in any layer: rows that are all alike show none."""
        squares = gradients.squares
        if squares.shape[1] == 1:
            return True
        largest = squares.amax(1)
        varied = (largest - squares.amin(1) > 1e-3 * largest).all()
        return bool(varied and squares.isfinite().all() and self._forward.losses.isfinite().all())

    @cached_property
    def _alone(self) -> Mapping[int, Gradients]:
        structure, loss_fn, x, y = (
            self._forward.structure,
            self._forward.loss_fn,
            self._forward.x,
            self._forward.y,
        )
        return {row: row_alone(structure, loss_fn, x[row : row + 1], y[row : row + 1]) for row in checked_rows(len(x))}

    def _has(self, gradients: PerSample, row: int, expected: Gradients) -> bool:
        only = gradients.squares.new_zeros(len(self._forward.x))
        only[row] = 1
        if not _same_norms(self._forward, gradients, row, expected):
            return False
        sizes, rounding = layer_sizes(expected), self._forward.rounding
        tolerance = _tolerance.other_pass(rounding)
        return within(_differences(gradients.weighted_sum(only), expected), sizes, tolerance, rounding)


def seems_independent(forward: ForwardPass, gradients: PerSample, row: int) -> bool:
    """Return whether one row has the norms that it has alone; it may differ at a kink, so that False is a suspicion."""
    alone = row_alone(forward.structure, forward.loss_fn, forward.x[row : row + 1], forward.y[row : row + 1])
    return _same_norms(forward, gradients, row, alone)


def _same_norms(forward: ForwardPass, gradients: PerSample, row: int, expected: Gradients) -> bool:
    sizes = layer_sizes(expected)
    norms = dict(zip(gradients.layers, gradients.squares[:, row].sqrt(), strict=True))
    differences = {layer: norms[layer] - size for layer, size in sizes.items()}
    return within(differences, sizes, _tolerance.other_pass(forward.rounding), forward.rounding)


def _differences(one: Gradients, other: Gradients) -> dict[str, Tensor]:
    return layer_sizes({name: one[name] - g for name, g in other.items()})


def _weighted_sum(forward: ForwardPass) -> tuple[Tensor, Gradients]:
    """Return random weights and the sum under them, by autograd; the graph is kept."""
    out_grad, parameters = forward.out_grad, forward.structure.parameters
    drawn = torch.randn(len(forward.x), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    weights = drawn.to(device=out_grad.device, dtype=forward.structure.dtype)
    weighted = out_grad * weights.to(out_grad.dtype).view(-1, *[1] * (out_grad.dim() - 1))
    trained = list(parameters.values())
    with attempted(
        forward.structure,
        "the losses were differentiated by torch.autograd.grad",
        "a model that it can differentiate; checkpoints need use_reentrant=False",
    ):
        grads = torch.autograd.grad(forward.out, trained, weighted, retain_graph=True, allow_unused=True)
    by_name = zip(parameters.items(), grads, strict=True)
    return weights, {name: torch.zeros_like(p) if g is None else g.to_dense() for (name, p), g in by_name}
