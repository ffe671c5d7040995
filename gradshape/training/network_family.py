"""Single steps on one batch: what a family offers whose victims are trained by steps."""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from gradshape.training._architecture import Architecture
from gradshape.training.family import Family
from gradshape.training.recipe import Recipe
from gradshape.training.state import State
from gradshape.training.victim import Victim


class Stepper(Protocol):
    """Victims of one stack with a batch that all of them see."""

    def step(self) -> None:
        """Take a step on the batch with every victim."""
        ...

    def state(self, place: int) -> State:
        """Return a copy of the parameters and buffers of one of these victims now, by name, on the CPU."""
        ...


class NetworkFamily(Family, Protocol):
    """A family of networks. What it takes is decided in :meth:`suits`, for trainings and for single steps alike."""

    def suits(self, architecture: Architecture, recipe: Recipe, rows: int, device: torch.device) -> bool:
        """Return whether this family can train networks of this architecture.

        Args:
            architecture: of the victims.
            recipe: of one of them.
            rows: number of rows in a batch.
            device: of the training.
        """
        ...

    def steppers(
        self, victims: Sequence[Victim], initial: Callable[[Victim], nn.Module], x: Tensor, y: Tensor
    ) -> list[Stepper]:
        """Sort victims that suit it into stacks, ready to take steps on one batch.

        Args:
            victims: their recipes are the same but for the shaper.
            initial: gives a victim's model before its first step, on the CPU.
            x, y: ``(B, *shape)`` and ``(B,)``, on the device of the training.

        Returns:
            The stacks in order, which together have all victims, in order.
        """
        ...
