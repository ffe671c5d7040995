"""What a probe measures of a training: the gradients of its poison rows apart from those of its clean ones."""

from dataclasses import dataclass
from enum import Enum

from torch import Tensor

SUBSETS = ("clean", "poison", "placebo", "rest")
"""The subsets of the rows of a training, in the order of every tensor of :class:`SubsetGradients`.

They are the train rows; the private rows; train rows drawn at random, as many as there are private ones; and all rows
that were not drawn, private ones included. Clean and poison rows together are all rows, and so are the placebo and the
rest: two divisions into parts of the same sizes, of which the second knows nothing of the poison.
"""

COMPLEMENT = (1, 0, 3, 2)
"""For each of the :data:`SUBSETS` the place of its complement: the two together are all rows."""


class Layers(Enum):
    """The layers whose gradients are looked at.

    Attributes:
        LAST: the last dense layer, as in the paper's code.
        ALL: all layers with trainable parameters.
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
        layers: where gradients are measured. The last layer costs next to nothing, all layers about as much time as
            the training.
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

    Gradients are taken at the parameters before the update that they are part of. Where a subset has no rows in an
    epoch, its numbers are NaN. :mod:`gradshape.analysis` turns them into ratios and angles.

    Attributes:
        layers: where gradients were measured.
        parameters: names of the ``P`` parameters, in the model's order.
        raw: ``(E, W, P, S, S)`` float64 inner products of the subsets' mean gradients, by :class:`Weighting` and
            parameter: the squared norm of a subset's gradient stands on the diagonal.
        shaped: the same for gradients as the shaper weights them, before noise; equal to ``raw`` if it weights none.
        norms, shaped_norms: ``(E, S)`` float64 mean of the norms of single samples' gradients, over all trainable
            parameters: before and after the weighting.
        rows, batches: ``(E, S)`` int64 rows that were trained on, and batches with such rows.
        accuracy: ``(E, S)`` float64 share of the subset's rows, whether they were in a batch or not, that the model
            classifies correctly after the epoch; ``None`` if not measured.
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
