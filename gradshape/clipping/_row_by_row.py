"""Per-sample gradients by plain autograd, one row after the other: exact for whatever autograd can differentiate."""

import torch
from torch import Tensor

from gradshape._randomness import HostState
from gradshape.clipping._attempts import losses_of_rows
from gradshape.clipping._generators import drawing_from
from gradshape.clipping._rows import Rows
from gradshape.clipping._vmapped import Gradients, VmappedGradients, gradients_in_chunks, gradients_of, joined, stacked
from gradshape.clipping.protocol import LossFn
from gradshape.clipping.structure import Structure


def row_by_row(
    structure: Structure, loss_fn: LossFn, x: Rows, y: Rows, *, host: HostState | None = None
) -> VmappedGradients:
    """Take the per-sample gradients of all trainable parameters.

    Args:
        structure: the model.
        loss_fn, x, y: as in :func:`gradshape.clipping.weighted_gradient`; at least one row.
        host: where every row draws Python's and NumPy's numbers from, if the model does.
    """

    def gradient(values: Gradients, *row: Tensor) -> Gradients:
        with drawing_from(host):
            return row_alone(structure, loss_fn, *joined(x, y, row))

    columns = (*x.tensors, *y.tensors)
    return gradients_in_chunks(stacked(gradient), structure.parameters, columns, dtype=structure.dtype)


def row_alone(structure: Structure, loss_fn: LossFn, x: Rows, y: Rows) -> Gradients:
    """Return the gradient of a batch of one row in all trainable parameters."""
    with torch.enable_grad():
        loss = losses_of_rows(structure, loss_fn, x, y).squeeze(0)
    return gradients_of(loss, structure.parameters)
