"""How much noise is in the gradients of a loop that accumulates and resets them whenever it likes."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from weakref import ref

import torch
from torch import Tensor, nn
from torch.autograd.graph import get_gradient_edge
from torch.utils.hooks import RemovableHandle


@dataclass(frozen=True)
class _Noisy:
    """A gradient with noise.

    Attributes:
        grad: the tensor.
        versions: how often it and its parameter had been written to when a backward pass last added to it.
        variance: that of the noise.
    """

    grad: ref[Tensor]
    versions: tuple[int, int]
    variance: Tensor

    def is_in(self, grad: Tensor, p: nn.Parameter, *, since: int = 0) -> bool:
        """Return whether this is ``grad``, and was written to ``since`` times, while the parameter stayed as it was."""
        written, stepped = self.versions
        return self.grad() is grad and (written + since, stepped) == (grad._version, p._version)


class PresentNoise:
    """The variance of the noise in the gradient of each parameter, so that a sum of gradients has its noise once.

    Noise counts as present only while ``parameter.grad`` is the tensor that it was added to, and nothing but backward
    passes has written to it or to the parameter since. Whatever else happens to either, such as zeros in its place,
    another tensor, a step or clipping, leaves that open, and then the noise counts as gone: there may be more noise
    than was asked for, and never less.
    """

    def __init__(self) -> None:
        self._noisy: dict[nn.Parameter, _Noisy] = {}
        # What the backward pass of this number is about to add to a gradient, and the variance that is there then.
        self._coming: dict[nn.Parameter, tuple[int, Tensor]] = {}
        self._hooks: dict[nn.Parameter, RemovableHandle] = {}

    def watch(self, parameters: Iterable[nn.Parameter]) -> None:
        """Notice when something is added to the gradients of ``parameters``."""
        for p in parameters:
            if p not in self._hooks:
                hook = p.register_post_accumulate_grad_hook(self._added)
                # Before the hooks of others, which may step and reset.
                hooks: Any = p._post_accumulate_grad_hooks
                hooks.move_to_end(hook.id, last=False)
                self._hooks[p] = hook

    def add(self, p: nn.Parameter, wanted: Tensor) -> Tensor:
        """Return the variance of the noise that the present backward pass has to add, for ``wanted`` in the sum."""
        present = self._present(p)
        if not _is_added(p):
            # ``torch.autograd.grad`` returns gradients, and leaves those that the parameters have.
            return wanted
        total = wanted if present is None else torch.maximum(wanted, present)
        self._coming[p] = torch._C._current_graph_task_id(), total
        return wanted if present is None else total - present

    def forget(self) -> None:
        """Count all noise as gone."""
        self._noisy.clear()

    def close(self) -> None:
        """Leave the parameters as they were."""
        self.forget()
        for hook in self._hooks.values():
            hook.remove()
        self._hooks.clear()

    def _present(self, p: nn.Parameter) -> Tensor | None:
        task, variance = self._coming.get(p, (None, None))
        if task == torch._C._current_graph_task_id():
            return variance
        noisy, grad = self._noisy.get(p), p.grad
        if noisy is None or grad is None or not noisy.is_in(grad, p):
            return None
        # Zeros that are written by way of ``grad.data`` are not counted as a write. No GPU is waited for here.
        return noisy.variance * grad.any().to(noisy.variance.device)

    def _added(self, p: nn.Parameter) -> None:
        """Note what a backward pass, ours or another, has just made of a gradient."""
        coming, noisy, grad = self._coming.pop(p, None), self._noisy.pop(p, None), p.grad
        variance = None
        if grad is None:
            return
        if coming is not None and coming[0] == torch._C._current_graph_task_id():
            variance = coming[1]
        elif noisy is not None and noisy.is_in(grad, p, since=1):
            variance = noisy.variance
        if variance is not None:
            self._noisy[p] = _Noisy(ref(grad), (grad._version, p._version), variance)


def _is_added(p: nn.Parameter) -> bool:
    """Return whether the present backward pass adds to the gradient of ``p``."""
    try:
        added: bool = torch._C._will_engine_execute_node(get_gradient_edge(p).node)
    except RuntimeError:
        return False
    return added
