"""Two parametrisations of the last layer of dense networks under cross-entropy.

Each gives, from the outputs of ``K`` models on ``R`` rows, the gradients of the losses and the predicted classes.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gradshape.training._curves import classes

# Functions such as the sigmoid, and optimizers, round the elements after the last full vector of so many differently.
VECTOR = 64

# Maps a buffer's name and shape to memory, padded to a multiple of VECTOR elements.
Buffer = Callable[..., Tensor]


class OutputLayer(Protocol):
    """How the outputs ``(K, n, R)`` of the last layer are read."""

    def errors(self, out: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
        """Compute the gradients of the losses by the outputs, for ``labels`` ``(R,)`` or ``(K, R)``.

        They are written to ``errors`` ``(K, n, R)``, memory that is padded to a multiple of :data:`VECTOR` elements.
        """
        ...

    def squares(self, errors: Tensor, columns: Callable[[Tensor], Tensor]) -> Tensor:
        """Compute ``(K, R)`` squared norms of the gradients of the losses by the logits.

        ``columns`` maps ``(K, n, R)`` to the squared norms of its columns.
        """
        ...

    def classes(self, out: Tensor) -> Tensor:
        """Return ``(K, R)`` predicted classes, -1 where an output is not finite."""
        ...


class SoftmaxOutput:
    """Outputs that are the logits, one a class."""

    def errors(self, out: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
        """Compute the softmax less the one-hot labels."""
        torch.softmax(out, 1, out=errors)
        places = labels.long().unsqueeze(-2).expand(len(out), 1, -1)
        return errors.scatter_(1, places, -1.0, reduce="add")

    def squares(self, errors: Tensor, columns: Callable[[Tensor], Tensor]) -> Tensor:
        return columns(errors)

    def classes(self, out: Tensor) -> Tensor:
        return classes(out, dim=1)


class DifferenceOutput:
    """Outputs that are half the difference of the logits of two classes, ``n = 1``.

    Their gradient is that of the second logit, to which that of the first is opposite.
    """

    def errors(self, out: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
        """Compute the probability of the second class less the labels, which are 0 or 1."""
        torch.mul(out, 2, out=errors)
        # The sigmoid goes over whole vectors, see VECTOR.
        whole = errors.as_strided((-(-errors.numel() // VECTOR) * VECTOR,), (1,))
        whole.sigmoid_()
        return errors.sub_(labels.unsqueeze(-2))

    def squares(self, errors: Tensor, columns: Callable[[Tensor], Tensor]) -> Tensor:
        return 2 * errors[:, 0].square()

    def classes(self, out: Tensor) -> Tensor:
        return torch.where(out[:, 0].isfinite(), (out[:, 0] > 0).long(), -1)
