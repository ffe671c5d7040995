"""SGD and Adam as frozen settings, and their updates.

The updates equal ``torch.optim``'s. They are written out because building a ``torch.optim`` optimizer loads the
compiler, which costs more time than a small victim's whole training.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from gradshape import _validate


class Updater(Protocol):
    """The state of one optimization."""

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Update the parameters in place along ``gradients``, one of each parameter's shape."""
        ...

    def move(self, parameters: Sequence[Tensor], select: Callable[[Tensor], Tensor]) -> None:
        """Go on with other parameters; ``select`` maps a tensor of the old ones' form to one of the new ones'."""
        ...

    @property
    def steps(self) -> int:
        """Number of steps taken."""
        ...

    @property
    def slots(self) -> Sequence[Sequence[Tensor]]:
        """The moments, each with a tensor of each parameter's shape. They change in place."""
        ...

    def restore(self, slots: Sequence[Sequence[Tensor]], steps: int) -> None:
        """Go on from these moments, which the optimizer then owns, as after ``steps`` steps."""
        ...


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent.

    Args:
        lr: learning rate, > 0.
        momentum: heavy-ball momentum in [0, 1).
    """

    lr: float
    momentum: float = 0.0

    def __post_init__(self) -> None:
        _validate.positive(lr=self.lr)
        _validate.fraction_below_one(momentum=self.momentum)

    @property
    def label(self) -> str:
        return "sgd"

    @property
    def slots(self) -> int:
        """Number of moments that it remembers of each parameter."""
        return 1 if self.momentum else 0

    @property
    def squares(self) -> frozenset[int]:
        """Which of the moments are means of squares."""
        return frozenset()

    def over(self, parameters: Sequence[Tensor]) -> Updater:
        """Return an optimizer of ``parameters``, which it updates in place."""
        return _SGDUpdater(self, parameters)


@dataclass(frozen=True)
class Adam:
    """Adam (Kingma and Ba 2015, Algorithm 1).

    Args:
        lr: learning rate, > 0.
        beta1, beta2: decay of the two moments, in [0, 1).
        eps: added to the root of the bias-corrected second moment.
    """

    lr: float
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-8

    def __post_init__(self) -> None:
        _validate.positive(lr=self.lr, eps=self.eps)
        _validate.fraction_below_one(beta1=self.beta1, beta2=self.beta2)

    @property
    def label(self) -> str:
        return "adam"

    @property
    def slots(self) -> int:
        """Number of moments that it remembers of each parameter."""
        return 2

    @property
    def squares(self) -> frozenset[int]:
        """Which of the moments are means of squares."""
        return frozenset({1})

    def over(self, parameters: Sequence[Tensor]) -> Updater:
        """Return an optimizer of ``parameters``, which it updates in place."""
        return _AdamUpdater(self, parameters)


Optimizer = SGD | Adam


class _SGDUpdater:
    def __init__(self, settings: SGD, parameters: Sequence[Tensor]) -> None:
        self._settings = settings
        self._parameters = list(parameters)
        self._momenta: list[Tensor] | None = None
        self._steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        self._steps += 1
        steps = gradients
        if self._settings.momentum:
            if self._momenta is None:
                self._momenta = [gradient.clone() for gradient in gradients]
            else:
                for momentum, gradient in zip(self._momenta, gradients, strict=True):
                    momentum.mul_(self._settings.momentum).add_(gradient)
            steps = self._momenta
        for parameter, step in zip(self._parameters, steps, strict=True):
            parameter.add_(step, alpha=-self._settings.lr)

    def move(self, parameters: Sequence[Tensor], select: Callable[[Tensor], Tensor]) -> None:
        self._parameters = list(parameters)
        if self._momenta is not None:
            self._momenta = [select(momentum) for momentum in self._momenta]

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def slots(self) -> Sequence[Sequence[Tensor]]:
        return [] if self._momenta is None else [self._momenta]

    def restore(self, slots: Sequence[Sequence[Tensor]], steps: int) -> None:
        self._momenta = [*slots[0]] if slots else None
        self._steps = steps


class _AdamUpdater:
    def __init__(self, settings: Adam, parameters: Sequence[Tensor]) -> None:
        self._settings = settings
        self._parameters = [parameter.detach() for parameter in parameters]
        self._first = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._second = [torch.zeros_like(parameter) for parameter in self._parameters]
        self._steps = 0

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        self._steps += 1
        pairs = zip(self._parameters, gradients, self._first, self._second, strict=True)
        if self._parameters and all(_as_the_kernel_takes_them(*tensors) for tensors in pairs):
            self._step_at_once(gradients)
        else:
            self._step_by_operators(gradients)

    def _step_at_once(self, gradients: Sequence[Tensor]) -> None:
        """Update in one pass over memory, by the kernel of ``torch.optim.Adam(..., fused=True)``."""
        settings = self._settings
        torch._fused_adam_(
            self._parameters,
            list(gradients),
            self._first,
            self._second,
            [],
            [torch.tensor(float(self._steps), dtype=torch.float32)] * len(self._parameters),
            lr=settings.lr,
            beta1=settings.beta1,
            beta2=settings.beta2,
            weight_decay=0.0,
            eps=settings.eps,
            amsgrad=False,
            maximize=False,
        )

    def _step_by_operators(self, gradients: Sequence[Tensor]) -> None:
        settings = self._settings
        rate = -settings.lr / (1 - settings.beta1**self._steps)
        root = (1 - settings.beta2**self._steps) ** 0.5
        for parameter, gradient, first, second in zip(
            self._parameters, gradients, self._first, self._second, strict=True
        ):
            first.lerp_(gradient, 1 - settings.beta1)
            second.mul_(settings.beta2).addcmul_(gradient, gradient, value=1 - settings.beta2)
            parameter.addcdiv_(first, second.sqrt().div_(root).add_(settings.eps), value=rate)

    def move(self, parameters: Sequence[Tensor], select: Callable[[Tensor], Tensor]) -> None:
        self._parameters = [parameter.detach() for parameter in parameters]
        self._first = [select(moment) for moment in self._first]
        self._second = [select(moment) for moment in self._second]

    @property
    def steps(self) -> int:
        return self._steps

    @property
    def slots(self) -> Sequence[Sequence[Tensor]]:
        return [self._first, self._second]

    def restore(self, slots: Sequence[Sequence[Tensor]], steps: int) -> None:
        if slots:
            self._first, self._second = ([*slot] for slot in slots)
        self._steps = steps


def _as_the_kernel_takes_them(parameter: Tensor, *others: Tensor) -> bool:
    """Return whether the tensors lie alike: the kernel goes through memory, whatever shapes and strides are."""
    return all(
        tensor.device.type == "cpu" and tensor.is_contiguous() and tensor.shape == parameter.shape
        for tensor in (parameter, *others)
    )
