"""How a victim is trained."""

from dataclasses import dataclass, field, replace

from gradshape import _validate
from gradshape.shaping import Shaper
from gradshape.training.optimizers import Optimizer


@dataclass(frozen=True)
class Recipe:
    """A training procedure, from the architecture to the gradient shaping.

    One epoch is ``max(1, N // batch_size)`` steps over a fresh shuffle of the ``N`` training rows; the
    remainder is left out of that epoch, as in the paper's code, so every step averages over exactly
    ``min(batch_size, N)`` rows. The loss is cross-entropy.

    Args:
        model: a name that :func:`gradshape.models.build` knows.
        optimizer: :class:`SGD` or :class:`Adam`.
        batch_size: rows a step, at least 1.
        epochs: at least 1.
        shaper: what happens to per-sample gradients; nothing by default.

    >>> from gradshape.training import Adam
    >>> Recipe("lr", Adam(0.01), batch_size=300, epochs=40).shaper.is_vanilla
    True
    """

    model: str
    optimizer: Optimizer
    batch_size: int
    epochs: int
    shaper: Shaper = field(default=Shaper())

    def __post_init__(self) -> None:
        _validate.positive_int(batch_size=self.batch_size, epochs=self.epochs)

    def with_shaper(self, shaper: Shaper) -> "Recipe":
        """This recipe with another shaper."""
        return replace(self, shaper=shaper)
