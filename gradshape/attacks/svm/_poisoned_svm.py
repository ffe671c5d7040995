"""A support vector machine that is trained on clean rows and on poison points."""

import torch
from torch import Tensor

from gradshape.attacks.svm._hinge_gradient import decision_losses, hinge_gradient
from gradshape.attacks.svm._svm_solver import SvmFit, fit_svm
from gradshape.attacks.svm.kernels import Kernel


class PoisonedSvm:
    """An SVM on clean rows and poison points, kept exact while points move, and its loss on validation rows.

    Args:
        x: ``(n, d)`` float64 clean training rows, and
        signs: ``(n,)`` their labels, -1 and 1.
        others: ``(m, d)`` validation rows, and
        other_signs: ``(m,)`` their labels.
        kernel: of the machine, and
        c: its C.

    Attributes:
        x: training rows; the points come last.
        signs: their labels.
        fit: the machine.
        loss: its mean hinge loss on the validation rows.
    """

    x: Tensor
    signs: Tensor
    fit: SvmFit
    loss: float

    def __init__(
        self, x: Tensor, signs: Tensor, others: Tensor, other_signs: Tensor, *, kernel: Kernel, c: float
    ) -> None:
        self.x, self.signs = x.clone(), signs
        self._others, self._other_signs = others, other_signs
        self._kernel, self._c = kernel, c
        self._bounds = torch.full_like(signs, c)
        self._gram, self._cross = kernel(x, x), kernel(others, x)
        self._keep(fit_svm(self._gram, signs, bounds=self._bounds))

    @property
    def error(self) -> float:
        """The share of validation rows that it gets wrong."""
        return float((self.fit.decide(self._cross) * self._other_signs <= 0).double().mean())

    def add(self, row: Tensor, label: int, weight: float) -> None:
        """Add a point ``row (d,)`` of class ``label``, 0 or 1, that counts for ``weight`` training rows."""
        alpha = self.fit.alpha
        self.x = torch.cat([self.x, row[None]])
        self.signs = torch.cat([self.signs, self.signs.new_full((1,), 2 * label - 1)])
        self._bounds = torch.cat([self._bounds, self._bounds.new_full((1,), self._c * weight)])
        self._gram = torch.nn.functional.pad(self._gram, (0, 1, 0, 1))
        self._cross = torch.nn.functional.pad(self._cross, (0, 1))
        self._place(-1, row)
        self._keep(fit_svm(self._gram, self.signs, bounds=self._bounds, start=torch.cat([alpha, alpha.new_zeros(1)])))

    def at(self, point: int) -> Tensor:
        """Return the point ``(d,)``."""
        return self.x[point]

    def move(self, point: int, row: Tensor) -> None:
        """Move the point to ``row`` ``(d,)`` and retrain."""
        self._place(point, row)
        self._keep(fit_svm(self._gram, self.signs, bounds=self._bounds, start=self.fit.alpha))

    def gradient(self, point: int) -> Tensor:
        """Return the ``(d,)`` gradient of ``loss`` with respect to the point."""
        row = point % len(self.x)
        total = hinge_gradient(
            self.fit,
            self.x,
            row,
            kernel=self._kernel,
            gram=self._gram,
            cross=self._cross,
            others=self._others,
            signs=self._other_signs,
        )
        return total / len(self._others)

    def own_gradient(self, point: int) -> Tensor:
        """Return the ``(d,)`` gradient of the point's own hinge loss as if the machine stayed as it is: to start by."""
        return -self.signs[point] * self._kernel.weighted_slope(self.x, self.x[point], self.fit.alpha * self.signs)

    def _place(self, point: int, row: Tensor) -> None:
        self.x[point] = row
        values = self._kernel(self.x, row[None])[:, 0]
        self._gram[point], self._gram[:, point] = values, values
        self._cross[:, point] = self._kernel(self._others, row[None])[:, 0]

    def _keep(self, fit: SvmFit) -> None:
        self.fit = fit
        self.loss = float(decision_losses(fit.decide(self._cross), self._other_signs).mean())
