"""How a victim is trained."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from torch import Tensor

from gradshape import _validate, learners
from gradshape.learners import Learnable, Setting
from gradshape.own_models import Model, named
from gradshape.shaping import Part, Shaper
from gradshape.training.optimizers import Optimizer

LossFn = Callable[[Tensor, Tensor], Tensor]


class Sampling(Enum):
    """How the rows of a step are chosen among the ``N`` training rows.

    Attributes:
        SHUFFLE: every epoch cuts a fresh shuffle into batches of exactly ``min(batch_size, N)`` rows and leaves out the
            remainder, as in the paper's code.
        POISSON: every row enters every step with probability ``min(batch_size, N) / N``, independently. A batch may
            have any number of rows, even none; the sum is divided by the expected number, ``min(batch_size, N)``. This
            is what the accountants of :mod:`gradshape.privacy` assume.
    """

    SHUFFLE = "shuffle"
    POISSON = "poisson"


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return the number of steps that an epoch on so many rows has.

    >>> steps_per_epoch(450, 200), steps_per_epoch(50, 200)
    (2, 1)
    """
    return max(1, rows // batch_size)


@dataclass(frozen=True)
class Recipe:
    """A training procedure, from the architecture to the gradient shaping.

    One epoch is :func:`steps_per_epoch` steps on the ``N`` training rows, and every step divides by
    ``min(batch_size, N)``.

    Args:
        model: a name that :func:`gradshape.models.build` knows; or a class or another factory of networks, or a trained
            network, which :func:`gradshape.own_models.named` gives a name: then this is that name.
        optimizer: :class:`SGD` or :class:`Adam`.
        batch_size: rows a step, at least 1.
        epochs: at least 1.
        shaper: what happens to per-sample gradients; nothing by default. A single part, such as ``Clip(4.0)``, becomes
            the shaper of that part.
        sampling: how the rows of a step are chosen.
        loss: ``loss(logits, y)`` returns the loss of each row, ``(B,)``, from its own logits ``(B, num_classes)`` and
            class alone; cross-entropy if ``None``. A function of plain values, by whose code finished jobs are named.

    >>> from gradshape.training import Adam
    >>> Recipe("lr", Adam(0.01), batch_size=300, epochs=40).shaper.is_vanilla
    True
    """

    model: str
    optimizer: Optimizer
    _: KW_ONLY
    batch_size: int
    epochs: int
    shaper: Shaper = field(default=Shaper())
    sampling: Sampling = Sampling.SHUFFLE
    loss: LossFn | None = None

    if TYPE_CHECKING:
        # What may be given for a field, and becomes what the field holds.
        def __init__(
            self,
            model: Model,
            optimizer: Optimizer,
            *,
            batch_size: int,
            epochs: int,
            shaper: Shaper | Part = ...,
            sampling: Sampling = ...,
            loss: LossFn | None = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        object.__setattr__(self, "model", named(self.model))
        if not isinstance(self.shaper, Shaper):
            object.__setattr__(self, "shaper", Shaper() | self.shaper)
        if isinstance(self.optimizer, type) or not isinstance(self.optimizer, Optimizer):
            raise TypeError(f"optimizer={self.optimizer!r}: expected an optimizer, such as Adam(0.01) or SGD(0.1)")
        _validate.member(Sampling, sampling=self.sampling)
        _validate.positive_int(batch_size=self.batch_size, epochs=self.epochs)

    def with_shaper(self, shaper: Shaper | Part) -> "Recipe":
        """Return this recipe with another shaper, or with one of a single part."""
        return replace(self, shaper=Shaper() | shaper)


@dataclass(frozen=True, init=False)
class Fit:
    """A training by an estimator's own ``fit``, or by a training function of the user's own.

    Args:
        model: a name that :mod:`gradshape.learners` knows; or a scikit-learn estimator or pipeline, a class of
            estimators, or a function ``train(rows, seed)`` that returns a predictor, which
            :func:`gradshape.learners.named` gives a name: then this is that name.
        settings: keyword arguments of the estimator or the function.

    Raises:
        TypeError: ``model`` is none of these.
        ValueError: unknown name; near matches are listed. Or another learner has this name.

    >>> Fit("svm_linear", c=1.0).settings
    (('c', 1.0),)
    """

    model: str
    settings: tuple[tuple[str, Setting], ...]

    def __init__(self, model: Learnable, **settings: Setting) -> None:
        object.__setattr__(self, "model", learners.named(model))
        object.__setattr__(self, "settings", tuple(sorted(settings.items())))

    @property
    def epochs(self) -> int:
        """Number of epochs: an estimator is fitted and evaluated once."""
        return 1


AnyRecipe = Recipe | Fit
