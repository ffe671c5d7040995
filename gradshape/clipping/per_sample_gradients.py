"""Norms, weighted sums and clipped means of per-sample gradients."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradshape import _validate
from gradshape.clipping._closed_form import closed_form
from gradshape.clipping._exact_gradients import exact_gradients
from gradshape.clipping._microbatches import MicrobatchedGradients, ZeroGradients
from gradshape.clipping._module_locks import held
from gradshape.clipping._opacus_hooks import without_opacus_hooks
from gradshape.clipping._rows import Inputs, Rows, batch_of
from gradshape.clipping._unsupported import refuse_unsupported
from gradshape.clipping.mixing import refuse_mixing
from gradshape.clipping.protocol import LossFn, PerSample
from gradshape.clipping.structure import Structure
from gradshape.clipping.weights import clip_weights


def per_sample(model: nn.Module, loss_fn: LossFn, x: Inputs, y: Inputs, *, microbatch: int | None = None) -> PerSample:
    """Take the per-sample gradients of a batch: their norms now, and their sums under weights that are chosen later.

    Args, guarantees and edge cases are those of :func:`weighted_gradient`, but gradients that are not finite raise no
    error: their norms are not finite either, nor is a sum that they enter. No step waits for the device.

    Returns:
        An object with ``layers`` (names of the ``L`` modules that own trainable parameters), ``squares`` ``(L, B)``
        (squared norms of each layer's part), ``norms`` ``(B,)``, and ``weighted_sum(weights)`` for weights ``(B,)``,
        or ``(L, B)`` that differ by layer; ``weighted_sum(weights, only=layers)`` for the parameters of some layers
        alone. It holds the activations of the batch while it lives. On CPUs the thread then keeps up to 256 MiB of its
        memory for the next batch, see :func:`release_workspaces`.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> x, y = torch.tensor([[3.0, 4.0], [0.0, 1.0]]), torch.zeros(2)
    >>> gradients = per_sample(model, lambda logits, y: logits[:, 0] - y, x, y)
    >>> gradients.norms, gradients.weighted_sum(torch.tensor([1.0, -1.0]))
    (tensor([5., 1.]), {'weight': tensor([[3., 3.]])})
    """
    structure, rows, labels = _checked(model, x, y, microbatch)
    if microbatch is not None and microbatch < len(rows):
        return MicrobatchedGradients(lambda x, y: _gradients(structure, loss_fn, x, y), rows, labels, microbatch)
    return _gradients(structure, loss_fn, rows, labels)


def per_sample_norms(
    model: nn.Module, loss_fn: LossFn, x: Inputs, y: Inputs, *, microbatch: int | None = None
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
    return finite(per_sample(model, loss_fn, x, y, microbatch=microbatch)).norms


def weighted_gradient(
    model: nn.Module,
    loss_fn: LossFn,
    x: Inputs,
    y: Inputs,
    weights_fn: Callable[[Tensor], Tensor],
    *,
    microbatch: int | None = None,
) -> tuple[dict[str, Tensor], Tensor]:
    """The sum ``sum_i w_i g_i`` of per-sample gradients ``g_i``, with weights ``w`` that depend on their norms.

    Formal guarantee: ``g_i`` is the gradient of ``loss_fn(model(x), y)[i]`` in the trainable parameters, up to
    rounding and by whichever way; if ``|w_i g_i| <= C`` for every norm, replacing one sample moves the sum by at most
    ``2C`` and removing one moves it by at most ``C``. The model, its buffers and every ``.grad`` stay as they are.

    Layers that have a rule (see :mod:`gradshape.clipping.rules`) take one forward and one backward pass together.
    Modules without one go through ``torch.func`` on their own, and the whole model does where that would not be exact:
    it draws random numbers, or uses a parameter in several places. Whether a way is exact for a model is not guessed:
    unless the model is a sequence of known layers, its gradients are compared with those of plain autograd, once for
    every model, shape of a batch, structure of the autograd graph, and state of the attributes, buffers and globals
    that model and loss read. What remains is to differentiate row by row. Threads that differentiate the same model, or
    models that share modules, take turns.

    Edge cases:

    =====================================================  =========================================================
    case                                                   result
    =====================================================  =========================================================
    ``B = 0``                                              zero gradients, norms of shape ``(0,)``; nothing is called
    frozen parameters (``requires_grad`` false)            in neither the norms nor the result
    a layer that the losses do not depend on               zero gradient
    a parameter under several names                        counted once, under the first; its gradient is the sum
    dropout in training mode                               one mask per sample, the same for norm and sum
    Python's or NumPy's random numbers                     drawn once for norm and sum; where rows are differentiated
                                                           one by one, all draw the same
    batch normalisation by the statistics of the batch     refused, also where it could be computed
    rows that are mixed in any other way                   refused
    attributes that a forward pass changes                 as after one pass
    rows that are reordered, and put back                  exact
    ``torch.autocast``                                     passes are cast as plain ones are; norms and sums are not
    ``torch.amp.GradScaler``                               its scale has to be taken out before gradients are clipped:
                                                           scale the losses and ``max_norm`` alike, see
                                                           :func:`clipped_gradient`
    TorchScript, complex or 8-bit parameters               refused
    =====================================================  =========================================================

    Args:
        model: any module that maps ``B`` rows to logits, also for ``B = 1``, without mixing samples: what comes out
            for a row depends on that row only. That is tried on the first batch of its kind, and on a row of the
            1st, 2nd, 4th, ... and then of every 64th later one; a model that mixes rows in others only is not found.
        loss_fn: ``loss_fn(output, y)`` returns one loss per sample, ``(B,)``, each from its own row only. It is given
            what the model returns: logits, or a tuple, mapping or dataclass with them.
        x: the inputs: a tensor ``(B, ...)``; a tuple or list, whose entries are passed one by one; or a mapping, whose
            entries are passed by name, such as ``input_ids`` and ``attention_mask``. Every tensor in it, however deep,
            has a row for each sample along its first axis. Other values are passed as they are.
        y: the labels, in whatever form ``loss_fn`` takes: a tensor ``(B, ...)``, or a tuple, list or mapping of such
            tensors, which ``loss_fn`` gets as a whole. ``None`` if the losses need none.
        weights_fn: maps the ``(B,)`` norms to ``(B,)`` weights; called once a batch.
        microbatch: rows that are differentiated at once; ``None`` for all. It bounds memory and does not change the
            result; a batch of several is differentiated twice, as its weights are known after the first pass only.

    Returns:
        The sum, by the names of ``model.named_parameters()``, and the norms ``(B,)`` before weighting. Both detached;
        gradients in dtype and device of their parameters, norms in the widest dtype of these, float32 at least.

    Raises:
        ValueError: ``loss_fn`` or ``weights_fn`` returns another shape than ``(B,)``; the model or the loss mixes
            samples; the model draws numbers from a generator of its own and would have to draw them again; a parameter
            is complex or of 8 bits, or belongs to TorchScript; a tensor of ``x`` or ``y`` is not dense, or has not as
            many rows as the others, or ``x`` has none; ``microbatch`` is not a positive integer;
            ``torch.inference_mode`` is on.
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
    gradients = finite(per_sample(model, loss_fn, x, y, microbatch=microbatch))
    weights = weights_fn(gradients.norms)
    if weights.shape != gradients.norms.shape:
        raise ValueError(
            f"weights_fn returned shape {tuple(weights.shape)}: expected one weight per sample, "
            f"shape {tuple(gradients.norms.shape)}"
        )
    return gradients.weighted_sum(weights.detach()), gradients.norms


def clipped_gradient(
    model: nn.Module, loss_fn: LossFn, x: Inputs, y: Inputs, *, max_norm: float, microbatch: int | None = None
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

    With a ``torch.amp.GradScaler``, which float16 needs and bfloat16 does not, scale the losses and the clipping norm
    alike, and let ``scaler.step`` take the scale out of what becomes the ``grad`` of the parameters::

        scaled = lambda output, y: scaler.scale(loss_fn(output, y))
        mean, norms = clipped_gradient(model, scaled, x, y, max_norm=max_norm * scaler.get_scale())

    Args:
        model, loss_fn, x, y: as in :func:`weighted_gradient`.
        max_norm: clipping norm ``C`` in [0, inf].
        microbatch: rows that are differentiated at once; ``None`` for all. It bounds memory and does not change the
            result; every row is differentiated once.

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

    structure, rows, labels = _checked(model, x, y, microbatch)
    size = len(rows) if microbatch is None else microbatch
    # Most batches are taken at once, and small ones feel every operation.
    parts = [(rows, labels)] if size >= len(rows) else zip(rows.split(size), labels.split(size), strict=False)
    sums: dict[str, Tensor] = {}
    norms: list[Tensor] = []
    for n, (part_rows, part_labels) in enumerate(parts):
        gradients = finite(_gradients(structure, loss_fn, part_rows, part_labels), first=n * size)
        norms.append(gradients.norms)
        part = gradients.weighted_sum(clip_weights(norms[-1], max_norm).div_(max(1, len(rows))))
        sums = {name: sums[name].add_(total) for name, total in part.items()} if sums else part
    return sums, norms[0] if len(norms) == 1 else torch.cat(norms)


def _gradients(structure: Structure, loss_fn: LossFn, x: Rows, y: Rows) -> PerSample:
    """Take the gradients in closed form for plain dense networks, else in the fastest way that is exact."""
    if len(x) == 0 or not structure.parameters:
        return ZeroGradients(structure, len(x))
    plain = closed_form(structure, loss_fn, x, y)
    if plain is not None:
        return plain
    with held(structure.modules.values()), without_opacus_hooks(structure):
        return exact_gradients(structure.now(), loss_fn, x, y)


def finite(gradients: PerSample, *, first: int = 0) -> PerSample:
    """Return ``gradients``, or raise ``FloatingPointError``; ``first`` is the number of their first sample."""
    norms = gradients.norms
    # A finite sum has finite terms, and testing one number is quicker than testing a mask.
    if not math.isfinite(norms.sum()) and not (finite := norms.isfinite()).all():
        worst = int((~finite).nonzero()[0])
        raise FloatingPointError(
            f"the gradient of sample {first + worst} is not finite (norm {float(norms[worst])}): "
            "check that row, its label and whether training diverged"
        )
    return gradients


def _checked(model: nn.Module, x: Inputs, y: Inputs, microbatch: int | None) -> tuple[Structure, Rows, Rows]:
    if microbatch is not None:
        _validate.positive_int(microbatch=microbatch)
    if torch.is_inference_mode_enabled():
        raise ValueError("torch.inference_mode is on, in which there are no gradients: expected it to be off")
    rows, labels = batch_of(x, y)
    structure = Structure.of(model)
    refuse_unsupported(structure)
    refuse_mixing(structure)
    return structure, rows, labels
