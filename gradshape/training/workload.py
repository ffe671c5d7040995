"""What one call of :func:`gradshape.training.train_victims` trains."""

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import torch
from torch import nn

from gradshape import _seeds, models
from gradshape.data import Dataset
from gradshape.training.state import load_state
from gradshape.training.victim import Victim

DEFAULT_MEMORY = 2 << 30
_CPU = torch.device("cpu")


@dataclass(frozen=True, eq=False)
class Workload:
    """The victims of one call with what they share.

    Attributes:
        dataset, victims: the rows, and who is trained on them.
        device, dtype: where they are trained, and in which floating-point type.
        max_memory: bytes that a stack may take, with its results and the rows.
        keep_states: whether parameters are kept in the results.
    """

    dataset: Dataset
    victims: Sequence[Victim]
    _: KW_ONLY
    device: torch.device = _CPU
    dtype: torch.dtype = torch.float32
    max_memory: int = DEFAULT_MEMORY
    keep_states: bool = True

    def initial_model(self, victim: Victim) -> nn.Module:
        """Build the victim's model as it is before its first step, in float32 on the CPU."""
        return initial_model(self.dataset, victim)


def initial_model(dataset: Dataset, victim: Victim) -> nn.Module:
    """Build the victim's model as it is before its first step, in float32 on the CPU."""
    model = models.build(
        victim.descent.model,
        dataset.input_shape,
        dataset.num_classes,
        generator=_seeds.stream(victim.seed, "initial"),
        units=dataset.units,
    )
    if victim.initial is not None:
        load_state(model, victim.initial)
    return model
