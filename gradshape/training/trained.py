"""A network as it was trained."""

from dataclasses import KW_ONLY, dataclass

import torch
from torch import nn

from gradshape import models
from gradshape.data import Units
from gradshape.training.recipe import Recipe
from gradshape.training.state import State, load_state


@dataclass(frozen=True, eq=False)
class TrainedModel:
    """A network that somebody trained: a victim's base model, or an attacker's substitute for it.

    Attributes:
        recipe: how it was trained.
        state: its parameters and buffers by name.
        units: of the rows that it was trained on.
    """

    recipe: Recipe
    state: State
    _: KW_ONLY
    units: Units | None = None

    def module(
        self, input_shape: tuple[int, ...], num_classes: int, *, device: torch.device | str = "cpu"
    ) -> nn.Module:
        """Build the network in its state, in evaluation mode, on ``device``; its parameters take no gradients.

        Args:
            input_shape: of one row, without the sample axis.
            num_classes: number of logits.

        Raises:
            ValueError: the state has other names or shapes than the network's parameters and buffers.

        >>> from gradshape.training import SGD
        >>> state = dict(models.build("lr", (4,), 3).named_parameters())
        >>> TrainedModel(Recipe("lr", SGD(0.1), batch_size=10, epochs=1), state).module((4,), 3)(torch.rand(2, 4)).shape
        torch.Size([2, 3])
        """
        model = models.build(self.recipe.model, input_shape, num_classes, units=self.units)
        try:
            load_state(model, self.state)
        except ValueError as error:
            raise ValueError(f"model {self.recipe.model!r}: {error}") from None
        return model.eval().requires_grad_(False).to(device)
