"""Gradients through a linear classifier's optimality condition: how the fit moves with its training labels and rows.

For parameters that minimise ``sum_i loss(z_i (theta . x_i)) + ridge/2 |theta|^2 + tilt . theta`` and an objective
``A(theta)``, every such gradient is one linear solve, ``q = H^-1 dA/dtheta`` with the Hessian ``H`` of the training
objective, and a product with the derivative of its gradient.
"""

import torch
from torch import Tensor

from gradshape.learners.logistic import hessian, linear_scores, solve
from gradshape.learners.margin_loss import MarginLoss


def adjoint(
    x: Tensor, signs: Tensor, theta: Tensor, outer: Tensor, *, ridge: float | Tensor, loss: MarginLoss
) -> Tensor:
    """Solve ``q = H^-1 outer``, with the Hessian of the training objective at its minimum.

    Args:
        x: ``(n, d)`` float64 training rows, shared by ``K`` problems.
        signs: ``(n,)`` or ``(K, n)`` labels, -1 to 1.
        theta: ``(K, d)`` the minima.
        outer: ``(K, d)`` gradients ``dA/dtheta``.
        ridge, loss: those that the minima were fitted with.

    Returns:
        ``(K, d)``.
    """
    penalty = torch.as_tensor(ridge, dtype=x.dtype, device=x.device)
    return solve(hessian(x, signs.square() * loss.curvature(signs * linear_scores(x, theta)), penalty), outer)


def label_gradient(x: Tensor, signs: Tensor, theta: Tensor, q: Tensor, *, loss: MarginLoss) -> Tensor:
    """Compute the gradient of ``A`` by the labels ``z``.

    It is ``dA/dz_i = -(loss'(m_i) + m_i loss''(m_i)) (x_i . q)``, with margins ``m = z (theta . x)``. Arguments are as
    for :func:`adjoint`, whose result is ``q``.

    Returns:
        ``(K, n)``, each problem's own gradient.

    For the logistic loss: Zhao et al. 2017, Efficient label contamination attacks against black-box learning models.

    >>> from gradshape.learners.margin_loss import SquaredMargin
    >>> x, z, outer = torch.tensor([[2.0]]), torch.tensor([0.5]), torch.tensor([[1.0]])
    >>> theta = 2 * z[None] / (4 * z**2 + 1)  # of (1 - 2 z theta)^2 / 2 + theta^2 / 2
    >>> q = adjoint(x, z, theta, outer, ridge=1.0, loss=SquaredMargin())
    >>> label_gradient(x, z, theta, q, loss=SquaredMargin()).item()  # d theta / dz = (2 - 8 z^2) / (4 z^2 + 1)^2
    -0.0
    """
    margins = signs * linear_scores(x, theta)
    return -(loss.slope(margins) + margins * loss.curvature(margins)) * linear_scores(x, q)


def mixture_gradient(x: Tensor, theta: Tensor, q: Tensor, *, loss: MarginLoss) -> Tensor:
    """Compute the gradient of ``A`` by labels that stand for mixtures of the two labels' losses.

    It is ``dA/dz_i = -(loss'(s_i) + loss'(-s_i))/2 (x_i . q)``, where a label ``z`` between -1 and 1 stands for
    ``(1 + z)/2 loss(s) + (1 - z)/2 loss(-s)``, with scores ``s = theta . x``. The learner's gradient is linear in such
    a label: unlike :func:`label_gradient`, which is near 0 for a row far on the right side, it tells what a whole flip
    does.

    Arguments are as for :func:`adjoint`, whose result is ``q``; at labels of -1 and 1 both relaxations have that
    Hessian.

    Returns:
        ``(K, n)``, each problem's own gradient.

    >>> from gradshape.learners.margin_loss import Logistic
    >>> theta, q = torch.tensor([[5.0, -5.0]]), torch.tensor([[1.0, 1.0]])
    >>> mixture_gradient(torch.eye(2), theta, q, loss=Logistic()).tolist()
    [[0.5, 0.5]]
    """
    scores = linear_scores(x, theta)
    return -(loss.slope(scores) + loss.slope(-scores)) / 2 * linear_scores(x, q)


def row_gradient(x: Tensor, signs: Tensor, theta: Tensor, q: Tensor, *, loss: MarginLoss) -> Tensor:
    """Compute the gradient of ``A`` by the rows ``x``, summed over the problems that share them.

    It is ``dA/dx_i = -(z_i loss'(m_i) q + z_i^2 loss''(m_i) (x_i . q) theta)``, with margins ``m = z (theta . x)``.
    Arguments are as for :func:`adjoint`, whose result is ``q``; ``x`` and ``signs`` may be limited to the rows whose
    gradients are needed.

    Returns:
        ``(n, d)``.

    For the logistic loss: Ma, Zhu and Hsu 2019, Data poisoning against differentially-private learners.

    >>> from gradshape.learners.margin_loss import SquaredMargin
    >>> x, z, outer = torch.tensor([[2.0]]), torch.tensor([1.0]), torch.tensor([[1.0]])
    >>> theta = x / (x**2 + 1)  # of (1 - theta x)^2 / 2 + theta^2 / 2
    >>> q = adjoint(x, z, theta, outer, ridge=1.0, loss=SquaredMargin())
    >>> round(row_gradient(x, z, theta, q, loss=SquaredMargin()).item(), 6)  # d theta / dx = (1 - x^2) / (1 + x^2)^2
    -0.12
    """
    margins = signs * linear_scores(x, theta)
    along_q = signs * loss.slope(margins)
    along_theta = signs.square() * loss.curvature(margins) * linear_scores(x, q)
    return -(along_q.mT @ q + along_theta.mT @ theta)
