"""What may be measured of a training's gradients: those of its poison rows apart from those of its clean ones."""

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

SUBSETS = ("clean", "poison", "placebo", "rest")
"""The subsets that the rows of a training have, in the order of every tensor of :class:`SubsetGradients`.

The train rows; the private rows; train rows drawn at random, as many as there are private ones; and all that were not
drawn, private rows included. Clean and poison rows are all rows, and so are the placebo and the rest: two divisions
into parts of the same sizes, of which the second knows nothing of the poison.
"""

COMPLEMENT = (1, 0, 3, 2)
"""For each of the :data:`SUBSETS` the place of the one that makes up all rows with it."""


class Layers(Enum):
    """Whose parameters' gradients are looked at.

    Attributes:
        LAST: the last dense layer's, as in the paper's code.
        ALL: every trainable one's.
    """

    LAST = "last"
    ALL = "all"


class Weighting(Enum):
    """How the gradients of an epoch become one mean gradient.

    Attributes:
        BATCH: the mean over the rows of each batch, and of these the mean over the batches that have such rows, as in
            the paper's code.
        SAMPLE: the mean over all rows.
        SHARED: as ``BATCH``, of the batches alone that have rows of both subsets of a division. A few poison rows are
            in a few batches: the mean over all batches has hardly any noise left in it for clean rows, and all of it
            for poison.
    """

    BATCH = "batch"
    SAMPLE = "sample"
    SHARED = "shared"


@dataclass(frozen=True)
class GradientProbe:
    """Measure the gradients of the subsets in the passes that train the victim; its training stays as it is.

    Args:
        layers: of which parameters. Those of the last layer cost next to nothing, those of all layers about as much
            time as the training.
        placebo: number of train rows in the placebo, at least 0; ``None`` for as many as there are private rows (or all
            train rows, if there are fewer of them).
        accuracy: whether the training rows are evaluated after every epoch.

    Raises:
        ValueError: ``placebo`` is negative or no integer.

    >>> from gradshape import data
    >>> from gradshape.training import SGD, Recipe, Victim, train_victims
    >>> moons = data.load("two_moons")
    >>> flipped = data.Split(moons.train.x[:50], 1 - moons.train.y[:50])
    >>> recipe = Recipe("lr", SGD(0.5), batch_size=50, epochs=3)
    >>> [result] = train_victims(moons, [Victim(recipe, 0, private=flipped, probe=GradientProbe())])
    >>> result.gradients.parameters, tuple(result.gradients.raw.shape)
    (('head.weight', 'head.bias'), (3, 3, 2, 4, 4))
    """

    layers: Layers = Layers.LAST
    placebo: int | None = None
    accuracy: bool = True

    def __post_init__(self) -> None:
        if self.placebo is None:
            return
        if isinstance(self.placebo, bool) or not isinstance(self.placebo, int) or self.placebo < 0:
            raise ValueError(f"placebo={self.placebo!r}: expected None or an integer of at least 0")


@dataclass(frozen=True, eq=False)
class SubsetGradients:
    """What a :class:`GradientProbe` measured in each of ``E`` epochs, for the ``S`` :data:`SUBSETS`.

    Gradients are taken at the parameters before the update that they are part of. What a subset has none of in an epoch
    is NaN. :mod:`gradshape.analysis` makes ratios and angles of it.

    Attributes:
        layers: whose parameters were looked at.
        parameters: names of the ``P`` parameters, in the model's order.
        raw: ``(E, W, P, S, S)`` float64 inner products of the subsets' mean gradients, by :class:`Weighting` and
            parameter: the squared norm of a subset's gradient stands on the diagonal.
        shaped: the same of gradients as the shaper weights them, before noise; ``raw`` if it weights none.
        norms, shaped_norms: ``(E, S)`` float64 mean of the norms of single samples' gradients, over all trainable
            parameters: before and after the weighting.
        rows, batches: ``(E, S)`` int64 rows that were trained on, and batches with such rows.
        accuracy: ``(E, S)`` float64 share of the subset's rows, whether they were in a batch or not, that the model
            classifies correctly after the epoch, when the test rows are evaluated, too; ``None`` if not measured.
    """

    layers: Layers
    parameters: tuple[str, ...]
    raw: Tensor
    shaped: Tensor
    norms: Tensor
    shaped_norms: Tensor
    rows: Tensor
    batches: Tensor
    accuracy: Tensor | None = None
