"""Single steps of what :func:`gradshape.training.train_victims` trains, for those who time or watch them."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from gradshape.training._architecture import architecture
from gradshape.training._dense.family import most_in_cache
from gradshape.training._dense.stack import DenseBatch, DenseStack
from gradshape.training._rows.matrix import RowMatrix
from gradshape.training._single.stepper import SingleStepper
from gradshape.training._stacked.stepper import StackStepper
from gradshape.training._vmapped.family import pays
from gradshape.training._vmapped.stack import ModuleBatch, ModuleStack
from gradshape.training.plan import chunks
from gradshape.training.state import State, load_state, state_of
from gradshape.training.victim import Victim


class Stepper(Protocol):
    """Victims of one stack with a batch that all of them see."""

    def step(self) -> None:
        """Every victim takes a step on the batch."""
        ...

    def state(self, place: int) -> State:
        """A copy of the parameters and buffers of one of these victims now, by name, on the CPU."""
        ...


def steppers(victims: Sequence[Victim], model: nn.Module, x: Tensor, y: Tensor) -> list[Stepper]:
    """Sort victims into the stacks that they are trained in, ready to take steps on one batch.

    Args:
        victims: their recipes are the same but for the shaper, and those with noise come first. Batch size and epochs
            do not matter here, nor do private rows and probes.
        model: what they train, whatever name the recipes give; it stays as it is. A victim without an ``initial`` state
            begins with the parameters of ``model``.
        x, y: at least two rows ``(B, *shape)`` and ``(B,)`` int64, on the device of the training.

    Returns:
        The stacks in order, which together have all victims, in order.

    Raises:
        ValueError: there are no victims, or fewer than two rows.

    >>> import torch
    >>> from gradshape.shaping import Clip, Shaper
    >>> from gradshape.training import SGD, Recipe
    >>> recipe = Recipe("lr", SGD(0.1), batch_size=4, epochs=1, shaper=Shaper((Clip(1.0),)))
    >>> victims, x, y = [Victim(recipe, 0), Victim(recipe, 1)], torch.rand(4, 3), torch.tensor([0, 1, 1, 0])
    >>> [stack] = steppers(victims, nn.Linear(3, 2), x, y)
    >>> stack.step()
    >>> sorted(stack.state(1))
    ['bias', 'weight']
    """
    if not victims or len(x) < 2:
        raise ValueError(f"{len(victims)} victims and {len(x)} rows: expected at least 1 victim and 2 rows")
    recipe, device, rows = victims[0].descent, x.device, len(x)
    dtype = next(model.parameters()).dtype

    def initial(victim: Victim) -> nn.Module:
        own = copy.deepcopy(model).cpu()
        if victim.initial is not None:
            load_state(own, victim.initial)
        return own

    known = architecture(initial(victims[0]), x[:2].cpu())
    if known.widths is not None:
        matrix = RowMatrix.of(x, y, dtype=dtype, device=device)
        most = most_in_cache(known.parameters * dtype.itemsize, recipe.optimizer, device)
        return [
            _Stack(
                StackStepper(
                    some,
                    DenseStack.of(some, initial, device=device, dtype=dtype),
                    rows_per_step=rows,
                    gather=lambda: DenseBatch(matrix),
                )
            )
            for some in chunks(victims, most)
        ]
    if known.stacks and pays(known, recipe, rows, device):
        batch = ModuleBatch(*(part.expand(len(victims), *part.shape) for part in (x, y)))
        stack = ModuleStack(victims, initial, x[:2], dtype=dtype)
        return [_Stack(StackStepper(victims, stack, rows_per_step=rows, gather=lambda: batch))]
    return [_Single(initial(victim).to(device), victim, x, y) for victim in victims]


@dataclass(frozen=True, eq=False)
class _Stack:
    stepper: StackStepper[DenseBatch] | StackStepper[ModuleBatch]

    def step(self) -> None:
        self.stepper.step()

    def state(self, place: int) -> State:
        return self.stepper.learned(place).last or {}


class _Single:
    def __init__(self, model: nn.Module, victim: Victim, x: Tensor, y: Tensor) -> None:
        recipe = victim.descent
        self._model = model.train()
        self._batch = x, y
        self._stepper = SingleStepper(model, recipe.optimizer, recipe.shaper, seed=victim.seed, rows_per_step=len(x))
        if victim.initial_optimizer is not None:
            self._stepper.restore_optimizer(victim.initial_optimizer)

    def step(self) -> None:
        self._stepper.step(*self._batch)

    def state(self, place: int) -> State:
        return state_of(self._model)
