"""Losses whose gradient in the logits has a closed form, so that autograd need not find it."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gradshape.clipping.protocol import LossFn, one_loss_per_sample


def losses_or_gradient(loss_fn: LossFn, logits: Any, y: Any, batch_size: int) -> tuple[Tensor, Tensor]:
    """Return the tensor that a backward pass starts from, and the gradient of the summed losses in it.

    These are the logits where the gradient in them is known, else the ``(B,)`` losses and ones.

    Raises:
        ValueError: ``loss_fn`` does not return one loss per sample.
    """
    gradient = known_gradient(loss_fn, logits, y, batch_size)
    if gradient is not None:
        return logits, gradient
    losses = one_loss_per_sample(loss_fn(logits, y), batch_size)
    return losses, torch.ones_like(losses)


def known_gradient(loss_fn: LossFn, logits: Any, y: Any, batch_size: int) -> Tensor | None:
    """Return the gradients of the losses in the logits if ``loss_fn`` is a plain ``nn.CrossEntropyLoss`` of classes."""
    if not is_known(loss_fn) or not _are_classes(logits, y, batch_size):
        return None
    return _but_ignored(lambda classes: cross_entropy_gradient(logits.detach(), classes), y)


def gradient_by_graph(losses: Tensor, logits: Tensor) -> Tensor | None:
    """Return the gradients of the losses in the logits if their autograd graph is that of plain cross-entropy.

    Args:
        losses: ``(B,)``, from whatever function.
        logits: ``(B, C)``, at the beginning of the graph.
    """
    node = losses.grad_fn
    if node is None or node.name() != "NllLossBackward0" or logits.dim() != 2 or logits._backward_hooks:
        return None
    inner: Any = node.next_functions[0][0]
    if inner is None or inner.name() != "LogSoftmaxBackward0":
        return None
    nll: Any = node
    leaf = inner.next_functions[0][0]
    classes: Tensor = nll._saved_target
    if getattr(leaf, "variable", None) is not logits or inner._saved_dim != 1 or nll._saved_reduction != 0:
        return None
    # Unsigned: a negative class to be ignored reads as one beyond all.
    ignores = nll._saved_ignore_index < logits.shape[1]
    if nll._saved_weight is not None or ignores or classes.dtype != torch.int64:
        return None
    return _but_ignored(lambda classes: _less_one(inner._saved_result.detach().exp(), classes), classes)


def _but_ignored(gradient: Callable[[Tensor], Tensor], classes: Tensor) -> Tensor | None:
    """Return the gradients for classes of which negative ones are ignored; ``None`` to leave such to autograd."""
    if classes.device.type == "cpu":  # Looking for one is quick here.
        return gradient(classes) if classes.numel() == 0 or int(classes.min()) >= 0 else None
    return gradient(classes.clamp(min=0)).mul_((classes >= 0).unsqueeze(1))


def cross_entropy_gradient(logits: Tensor, y: Tensor) -> Tensor:
    """Map ``(B, C)`` logits and ``(B,)`` int64 classes to the gradients of cross-entropy: softmax less one-hot."""
    if logits.element_size() < 4:
        # As under autocast: cross-entropy is computed in float32.
        return _less_one(logits.softmax(1, dtype=torch.float32), y).to(logits.dtype)
    return _less_one(logits.softmax(1), y)


def _less_one(probabilities: Tensor, classes: Tensor) -> Tensor:
    places = classes.unsqueeze(1)
    return probabilities.scatter_add_(1, places, probabilities.new_full((), -1.0).expand(places.shape))


def is_known(loss_fn: LossFn) -> bool:
    """Return whether ``loss_fn`` is a plain ``nn.CrossEntropyLoss``, which takes every row on its own."""
    return (
        type(loss_fn) is nn.CrossEntropyLoss
        and loss_fn.reduction == "none"
        and loss_fn.weight is None
        and loss_fn.label_smoothing == 0
        and loss_fn.ignore_index < 0
        and "forward" not in vars(loss_fn)
        and not loss_fn._forward_hooks
        and not loss_fn._forward_pre_hooks
    )


def _are_classes(logits: Any, y: Any, batch_size: int) -> bool:
    return (
        isinstance(logits, Tensor)
        and logits.dim() == 2
        and len(logits) == batch_size
        and isinstance(y, Tensor)
        and y.shape == (batch_size,)
        and y.dtype == torch.int64
        and logits.is_floating_point()
    )
