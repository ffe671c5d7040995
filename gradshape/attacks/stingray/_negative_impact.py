"""The harm that training on a poison row does to rows other than the target, which would give the poison away."""

import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.data import Split


class HeldOutLoss:
    """Rows that a network's loss is measured on, to first order, as its last layer takes a step on another row.

    The loss is the mean cross-entropy ``L``. A step of stochastic gradient descent on one row, of learning rate ``eta``
    and on the last layer alone, changes ``L`` by ``-eta <g, G>`` to first order, with ``g`` the gradient of the row's
    loss and ``G`` that of ``L``. Both are outer products of the errors ``softmax - onehot`` with the inputs of the last
    layer and 1, so that no row needs a backward pass.

    Args:
        network: maps rows to logits, in evaluation mode. Its last layer is the ``nn.Linear`` that gives its logits; of
            one that has none it is taken to be a linear layer on what its method ``features`` gives.
        rows: the held-out rows.

    Raises:
        ValueError: the network has neither, or its errors or features are not finite numbers, so that the harm of a row
            is unknown.

    Suciu et al. 2018 test for negative impact by training again with each row; this is this library's approximation.
    """

    def __init__(self, network: nn.Module, rows: Split) -> None:
        self._network = network
        parts = [
            _errors_and_inputs(network, Split(x, y))
            for x, y in zip(rows.x.split(_CHUNK_ROWS), rows.y.split(_CHUNK_ROWS), strict=True)
        ]
        self._errors = torch.cat([errors for errors, _ in parts])
        self._inputs = torch.cat([inputs for _, inputs in parts])

    def rise(self, rows: Split, *, counted: Tensor | None = None, made_from: Tensor | None = None) -> Tensor:
        """``(n,)`` float64 change of the mean loss on held-out rows by a step on each row, per unit of learning rate.

        Args:
            rows: ``n`` rows, each with the label that it would be trained on.
            counted: bool, which of the held-out rows count, all if ``None``.
            made_from: ``(n,)`` int64, places of the held-out rows that the rows were made from. Each of them is left
                out of account for the row that was made from it, which it resembles as no other row does; at least one
                row has to be left. ``None`` if they were made from others.

        >>> rows = Split(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([0, 1]))
        >>> network = nn.Linear(2, 2).requires_grad_(False)
        >>> _ = network.weight.zero_(), network.bias.zero_()
        >>> held_out = HeldOutLoss(network, rows)
        >>> held_out.rise(rows).tolist(), held_out.rise(Split(rows.x, 1 - rows.y)).tolist()
        ([-0.25, -0.25], [0.25, 0.25])
        """
        weight = torch.ones_like(self._errors[:, 0]) if counted is None else counted.to(self._errors.dtype)
        gradient = (self._errors * weight[:, None]).T @ self._inputs
        errors, inputs = _errors_and_inputs(self._network, rows)
        products: Tensor = ((errors @ gradient) * inputs).sum(1)
        if made_from is None:
            return -products / weight.sum()
        own = weight[made_from]
        if bool((weight.sum() <= own).any()):
            raise ValueError("made_from: no held-out row that counts is left: expected at least 1 other row")
        products -= own * (errors * self._errors[made_from]).sum(1) * (inputs * self._inputs[made_from]).sum(1)
        return -products / (weight.sum() - own)


def _errors_and_inputs(network: nn.Module, rows: Split) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        try:
            below, logits, _ = models.through_head(network, rows.x)
        except ValueError:
            if not callable(getattr(network, "features", None)):
                raise
            below, logits = models.penultimate(network, rows.x), network(rows.x)
    errors = logits.double().softmax(1)
    errors[torch.arange(len(rows), device=errors.device), rows.y] -= 1
    below = below.double()
    broken = int((~(errors.isfinite().all(1) & below.isfinite().all(1))).sum())
    if broken:
        raise ValueError(
            f"errors or features of {broken} of {len(rows)} rows are not finite: expected finite rows and a network "
            "whose training did not diverge"
        )
    return errors, torch.cat([below, below.new_ones(len(below), 1)], dim=1)


# Rows that go through the network at a time.
_CHUNK_ROWS = 1000
