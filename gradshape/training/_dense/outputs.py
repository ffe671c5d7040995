"""Two parametrisations of the last layer of dense networks under cross-entropy.

Each gives, from the outputs of ``K`` models on ``R`` rows, the gradients of the losses and the predicted classes.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from gradshape.training._curves import classes

# Elements after the last full vector are rounded differently by functions such as the sigmoid, and by optimizers.
VECTOR = 64

# A name and a shape to memory, which has room up to a multiple of VECTOR elements.
Buffer = Callable[..., Tensor]


class OutputLayer(Protocol):
    """How the outputs ``(K, n, R)`` of the last layer are read."""

    def errors(self, out: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
        """Gradients of the losses in the outputs, for ``labels`` ``(R,)`` or ``(K, R)``.

        They are written to ``errors`` ``(K, n, R)``, memory with room up to a multiple of :data:`VECTOR` elements.
        """
        ...

    def squares(self, errors: Tensor, columns: Callable[[Tensor], Tensor]) -> Tensor:
        """``(K, R)`` squared norms of the losses' gradients in the logits.

        ``columns`` takes ``(K, n, R)`` to the squared norms of its columns.
        """
        ...

    def classes(self, out: Tensor) -> Tensor:
        """``(K, R)`` predicted classes, -1 where an output is not finite."""
        ...


class SoftmaxOutput:
    """Every class has a logit."""

    def errors(self, out: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
        """Softmax less the one-hot labels."""
        torch.softmax(out, 1, out=errors)
        places = labels.long().unsqueeze(-2).expand(len(out), 1, -1)
        return errors.scatter_(1, places, -1.0, reduce="add")

    def squares(self, errors: Tensor, columns: Callable[[Tensor], Tensor]) -> Tensor:
        return columns(errors)

    def classes(self, out: Tensor) -> Tensor:
        return classes(out, dim=1)


class DifferenceOutput:
    """Half the difference of the logits of two classes, ``n = 1``: its gradient is taken as that of the second logit,
    to which that of the first is opposite.
    """

    def errors(self, out: Tensor, labels: Tensor, errors: Tensor) -> Tensor:
        """The second class's probability less the labels, 0 or 1."""
        torch.mul(out, 2, out=errors)
        # Over whole vectors, see VECTOR.
        whole = errors.as_strided((-(-errors.numel() // VECTOR) * VECTOR,), (1,))
        whole.sigmoid_()
        return errors.sub_(labels.unsqueeze(-2))

    def squares(self, errors: Tensor, columns: Callable[[Tensor], Tensor]) -> Tensor:
        return 2 * errors[:, 0].square()

    def classes(self, out: Tensor) -> Tensor:
        return torch.where(out[:, 0].isfinite(), (out[:, 0] > 0).long(), -1)
