"""Single steps of what :func:`gradshape.training.train_victims` trains, for those who time or watch them."""

import copy
from collections.abc import Sequence

from torch import Tensor, nn

from gradshape.training._architecture import architecture
from gradshape.training.network_family import Stepper
from gradshape.training.plan import NETWORK_FAMILIES
from gradshape.training.state import load_state
from gradshape.training.victim import Victim


def steppers(victims: Sequence[Victim], model: nn.Module, x: Tensor, y: Tensor) -> list[Stepper]:
    """Sort victims into the stacks that they are trained in, ready to take steps on one batch.

    The family that would train them takes the steps, see :mod:`gradshape.training.plan`.

    Args:
        victims: their recipes are the same but for the shaper. Batch size and epochs do not matter here, nor do private
            rows and probes.
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

    def initial(victim: Victim) -> nn.Module:
        own = copy.deepcopy(model).cpu()
        if victim.initial is not None:
            load_state(own, victim.initial)
        return own

    known, recipe = architecture(initial(victims[0]), x[:2].cpu()), victims[0].descent
    family = next(family for family in NETWORK_FAMILIES if family.suits(known, recipe, len(x), x.device))
    return family.steppers(victims, initial, x, y)
