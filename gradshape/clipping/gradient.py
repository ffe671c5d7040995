"""Norms, weighted sums and clipped means of per-sample gradients."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradshape import _validate
from gradshape.clipping.closed_form import closed_form
from gradshape.clipping.functional import functional
from gradshape.clipping.mixing import refuse_mixing
from gradshape.clipping.per_sample import LossFn, PerSample, norm_dtype, trainable
from gradshape.clipping.weights import clip_weights


def per_sample_norms(
    model: nn.Module, loss_fn: LossFn, x: Tensor, y: Tensor, *, chunk_size: int | None = None
) -> Tensor:
    """Euclidean norm of every sample's gradient, over all trainable parameters together.

    Args and Raises are those of :func:`weighted_gradient`.

    Returns:
        ``(B,)`` norms ``|g_i| >= 0``, detached; in the widest dtype of the parameters, float32 at least.
        0 for every sample if no parameter is trainable or the losses depend on none.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> x, y = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.zeros(2)
    >>> per_sample_norms(model, lambda logits, y: logits[:, 0] - y, x, y)
    tensor([5., 1.])
    """
    _check(model, x, y, chunk_size)
    if len(x) == 0:
        return _no_norms(model, x)
    return _per_sample(model, loss_fn, x, y, chunk_size).norms


def weighted_gradient(
    model: nn.Module,
    loss_fn: LossFn,
    x: Tensor,
    y: Tensor,
    weights_fn: Callable[[Tensor], Tensor],
    *,
    chunk_size: int | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """The sum ``sum_i w_i g_i`` of per-sample gradients ``g_i``, with weights ``w`` that depend on their norms.

    Formal guarantee: ``g_i`` is the gradient of ``loss_fn(model(x), y)[i]`` in the trainable parameters, up to
    rounding and by whichever way; if ``|w_i g_i| <= C`` for every norm, replacing one sample moves the sum by at most
    ``2C`` and removing one moves it by at most ``C``. The model, its buffers and every ``.grad`` stay as they are.

    Models whose trainable parameters all belong to ``nn.Linear`` layers, each called once with the batch as first axis,
    take one forward and one backward pass, and no per-sample gradient is formed. All others go through
    ``torch.func``, a chunk of samples at a time; a batch of several chunks is differentiated twice.

    Edge cases:

    =====================================================  =========================================================
    case                                                   result
    =====================================================  =========================================================
    ``B = 0``                                              zero gradients, norms of shape ``(0,)``; nothing is called
    frozen parameters (``requires_grad`` false)            in neither the norms nor the result
    a layer that the losses do not depend on               zero gradient
    a parameter under several names                        counted once, under the first
    dropout in training mode                               one mask per sample, the same for norm and sum
    batch normalisation by the statistics of the batch     refused, also where it could be computed
    =====================================================  =========================================================

    Args:
        model: any module that maps ``(B, ...)`` to logits, also for ``B = 1``, without mixing samples: what comes out
            for a row depends on that row only. Apart from batch normalisation this cannot be checked.
        loss_fn: ``loss_fn(logits, y)`` returns one loss per sample, ``(B,)``, each from its own row only.
        x: ``(B, ...)`` inputs.
        y: ``(B, ...)`` labels, in whatever form ``loss_fn`` takes.
        weights_fn: maps the ``(B,)`` norms to ``(B,)`` weights; called once a batch.
        chunk_size: samples whose gradients ``torch.func`` may hold at once; ``None`` for as many as have 2**26 entries
            together. It bounds memory and does not change the result.

    Returns:
        The sum, by the names of ``model.named_parameters()``, and the norms ``(B,)`` before weighting. Both detached;
        gradients in dtype and device of their parameters, norms in the widest dtype of these, float32 at least.

    Raises:
        ValueError: ``loss_fn`` or ``weights_fn`` returns another shape than ``(B,)``; the model mixes samples by batch
            normalisation; ``x`` and ``y`` differ in length; ``chunk_size`` is not a positive integer.
        FloatingPointError: the gradient of a sample is not finite, or its norm overflows; the message names the first.

    Bu et al. 2023, "Differentially private optimization on large model at small cost":
    https://arxiv.org/abs/2210.00038. Hong et al. 2020, "On the effectiveness of mitigating data poisoning attacks with
    gradient shaping": https://arxiv.org/abs/2002.11497.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> x, y = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.zeros(2)
    >>> total, norms = weighted_gradient(model, lambda logits, y: logits[:, 0] - y, x, y, lambda norms: 1 / norms)
    >>> total["weight"], norms
    (tensor([[0.6000, 1.8000]]), tensor([5., 1.]))
    """
    _check(model, x, y, chunk_size)
    if len(x) == 0:
        return {name: torch.zeros_like(p) for name, p in trainable(model).items()}, _no_norms(model, x)
    gradients = _per_sample(model, loss_fn, x, y, chunk_size)
    weights = weights_fn(gradients.norms)
    if weights.shape != gradients.norms.shape:
        raise ValueError(
            f"weights_fn returned shape {tuple(weights.shape)}: expected one weight per sample, "
            f"shape {tuple(gradients.norms.shape)}"
        )
    return gradients.weighted_sum(weights.detach()), gradients.norms


def clipped_gradient(
    model: nn.Module, loss_fn: LossFn, x: Tensor, y: Tensor, *, max_norm: float, chunk_size: int | None = None
) -> tuple[dict[str, Tensor], Tensor]:
    """The mean over the batch of per-sample gradients ``g_i``, each clipped: ``1/B sum_i g_i min(1, C / |g_i|)``.

    Formal guarantee: with ``C = max_norm``, every sample contributes at most ``C / B`` in Euclidean norm over all
    trainable parameters together, so replacing one sample moves the result by at most ``2C / B``, up to rounding.

    Edge cases, besides those of :func:`weighted_gradient`:

    =====================  =================================================
    case                   result
    =====================  =================================================
    ``max_norm`` 0         zero gradients
    ``max_norm`` infinity  the plain mean gradient
    ``|g_i|`` 0            weight 1: the sample counts towards ``B``
    ``B = 0``              zero gradients, norms of shape ``(0,)``
    =====================  =================================================

    Args:
        model, loss_fn, x, y, chunk_size: as in :func:`weighted_gradient`.
        max_norm: clipping norm ``C`` in [0, inf].

    Returns:
        The mean, by the names of ``model.named_parameters()``, and the norms ``(B,)`` before clipping; both detached.

    Raises:
        ValueError: ``max_norm`` is negative or NaN, or as in :func:`weighted_gradient`.
        FloatingPointError: the gradient of a sample is not finite; the message names the first.

    Abadi et al. 2016, "Deep learning with differential privacy", Algorithm 1: https://arxiv.org/abs/1607.00133.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> x, y = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.zeros(2)
    >>> mean, norms = clipped_gradient(model, lambda logits, y: logits[:, 0] - y, x, y, max_norm=2.0)
    >>> mean["weight"], norms
    (tensor([[0.6000, 1.3000]]), tensor([5., 1.]))
    """
    _validate.non_negative(max_norm=max_norm)

    def share(norms: Tensor) -> Tensor:
        return clip_weights(norms, max_norm) / len(norms)

    return weighted_gradient(model, loss_fn, x, y, share, chunk_size=chunk_size)


def _per_sample(model: nn.Module, loss_fn: LossFn, x: Tensor, y: Tensor, chunk_size: int | None) -> PerSample:
    """The closed form where it is exact, else ``torch.func``."""
    x, y = x.detach(), y.detach()
    parameters = trainable(model)
    gradients: PerSample | None = closed_form(model, parameters, loss_fn, x, y)
    if gradients is None:
        gradients = functional(model, parameters, loss_fn, x, y, chunk_size=chunk_size)
    finite = gradients.norms.isfinite()
    if not finite.all():
        first = int((~finite).nonzero()[0])
        raise FloatingPointError(
            f"the gradient of sample {first} is not finite (norm {float(gradients.norms[first])}): "
            "check that row, its label and whether training diverged"
        )
    return gradients


def _check(model: nn.Module, x: Tensor, y: Tensor, chunk_size: int | None) -> None:
    if chunk_size is not None:
        _validate.positive_int(chunk_size=chunk_size)
    if x.dim() == 0 or y.dim() == 0 or len(x) != len(y):
        raise ValueError(f"x has shape {tuple(x.shape)}, y {tuple(y.shape)}: expected the same number of rows")
    refuse_mixing(model)


def _no_norms(model: nn.Module, x: Tensor) -> Tensor:
    device = next((p.device for p in model.parameters()), x.device)
    return torch.zeros(0, dtype=norm_dtype(model), device=device)
