"""The gradient of a support vector machine's loss on other rows with respect to one of its training rows."""

import torch
from torch import Tensor

from gradshape.attacks.svm._svm_solver import SvmFit
from gradshape.attacks.svm.kernels import Kernel


def decision_losses(decisions: Tensor, signs: Tensor) -> Tensor:
    """Return ``max(0, 1 - s f(x))``, elementwise.

    >>> decision_losses(torch.tensor([0.5, 2.0, 2.0]), torch.tensor([1.0, 1.0, -1.0])).tolist()
    [0.5, 0.0, 3.0]
    """
    return (1 - signs * decisions).clamp_min(0)


def hinge_gradient(
    fit: SvmFit,
    x: Tensor,
    row: int,
    *,
    kernel: Kernel,
    gram: Tensor,
    cross: Tensor,
    others: Tensor,
    signs: Tensor,
) -> Tensor:
    """Return the gradient of the summed hinge loss on ``others`` with respect to training row ``row`` of ``x``.

    The weights of the rows on the margin and the bias follow the row through their optimality conditions: with ``S``
    the rows on the margin, ``[0 s_S; s_S Q_SS] [db; da_S] = -[0; d(Q_S a)/dx]`` for fixed ``a`` on the right. The
    gradient holds as long as no row joins or leaves the margin and no hinge crosses its kink.

    Args:
        fit: the machine, fitted on ``gram``.
        x: ``(n, d)`` float64 training rows.
        row: place of the row that moves.
        kernel: of the machine.
        gram: ``(n, n)`` its values ``kernel(x, x)``.
        cross: ``(m, n)`` its values ``kernel(others, x)``.
        others: ``(m, d)`` rows that the loss is taken on, and
        signs: ``(m,)`` their labels, -1 and 1.

    Returns:
        ``(d,)``; exactly 0 if the row's weight is 0. With a linear kernel and as many rows on the margin as parameters
        (``d + 1``), none of which is ``row``, the machine is pinned and the gradient is 0 up to rounding.

    Biggio, Nelson and Laskov 2012, Poisoning attacks against support vector machines, equations 4 to 8. There ``a`` of
    the row itself is held fixed; here it follows, too, if the row lies on the margin.

    >>> from gradshape.attacks.svm.kernels import LinearKernel
    >>> from gradshape.attacks.svm._svm_solver import fit_svm
    >>> x, s = torch.tensor([[0.0], [2.0]]).double(), torch.tensor([-1.0, 1.0]).double()
    >>> fit = fit_svm(x @ x.T, s, bounds=torch.full((2,), 9.0).double())  # f(x) = x - 1; moved, 2 x / x_1 - 1
    >>> other, label = torch.tensor([[0.6]]).double(), torch.tensor([1.0]).double()
    >>> gradient = hinge_gradient(
    ...     fit, x, 1, kernel=LinearKernel(), gram=x @ x.T, cross=other @ x.T, others=other, signs=label
    ... )
    >>> round(gradient.item(), 6)  # d(2 - 2 * 0.6 / x_1)/dx_1 at 2
    0.3
    """
    weight = fit.alpha[row]
    if float(weight) == 0:
        return torch.zeros_like(x[row])
    decisions = fit.decide(cross)
    # dL/df of the violators: -s.
    pulls = torch.where(signs * decisions < 1, -signs, torch.zeros_like(signs))
    moved = x[row]
    sign = fit.signs[row]
    gradient = weight * sign * kernel.weighted_slope(others, moved, pulls)
    margin = fit.free.nonzero()[:, 0]
    size = len(margin)
    if size == 0:
        return gradient
    system = x.new_zeros(size + 1, size + 1)
    system[0, 1:] = system[1:, 0] = fit.signs[margin]
    system[1:, 1:] = fit.signs[margin, None] * fit.signs[margin] * gram[margin][:, margin]
    right = torch.cat([pulls.sum()[None], fit.signs[margin] * (pulls @ cross[:, margin])])
    solved = torch.linalg.lstsq(system, right[:, None], driver="gelsd").solution[1:, 0]
    # d(Q_S a)/dx times the solution, through the row's own condition, if it has one, and through those of the others.
    own = margin == row
    if bool(own.any()):
        apart = fit.alpha * fit.signs
        apart[row] = 0
        condition = kernel.weighted_slope(x, moved, apart) + weight * sign * kernel.own_slope(moved)
        gradient = gradient - solved[own] * sign * condition
    return gradient - weight * sign * kernel.weighted_slope(
        x[margin], moved, solved.masked_fill(own, 0) * fit.signs[margin]
    )
