"""The loss defence: leave out the rows with the largest losses of a model that is trained on all of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from gradshape import _validate
from gradshape.data import Split
from gradshape.defenses.base import Suspect
from gradshape.defenses.removal import ShareFilter


@dataclass(frozen=True)
class LossFilter(ShareFilter):
    """Leave out the rows that a model trained on all of them, poison included, fits worst.

    The model is a softmax regression with some weight decay, fitted to its minimum, whatever the victim is: it takes no
    randomness, and no knowledge of the victim. (The authors' is the victim itself, a linear SVM. With two classes the
    order of the losses is that of the margins in both.)

    Args:
        removed: share of each class to leave out, above 0 and below 1; 0.05 in the paper.
        decay: weight decay of the model, see :func:`softmax_losses`, above 0.

    Raises:
        ValueError: a number is out of range.

    Koh, Steinhardt and Liang 2018, section 3.

    >>> from gradshape import data
    >>> train = data.load("two_moons").train
    >>> mask = LossFilter(0.05).filter(train, generator=torch.Generator().manual_seed(0))
    >>> int((~mask).sum()), len(mask)
    (35, 700)
    """

    decay: float = 0.01

    name: ClassVar[str] = "loss"
    letters: ClassVar[Mapping[str, str]] = {"decay": "d"}

    def __post_init__(self) -> None:
        super().__post_init__()
        _validate.positive(decay=self.decay)

    def scores(self, train: Suspect) -> Tensor:
        return softmax_losses(train, decay=self.decay)


def softmax_losses(rows: Split, *, decay: float) -> Tensor:
    """Return ``(N,)`` float64 cross-entropies, in nats, of the softmax regression that is fitted to the rows.

    It minimises the *mean* cross-entropy plus ``decay/2 |W|^2``, without decay of the bias.

    Args:
        rows: ``N`` rows of one class or more. With one class there is nothing to fit, and losses are 0.
        decay: above 0; 0.01 is the authors' for MNIST-1-7.

    Raises:
        ValueError: ``decay`` is out of range.

    >>> x = torch.tensor([[0.0], [0.0], [1.0], [1.0], [0.0]])
    >>> int(softmax_losses(Split(x, torch.tensor([0, 0, 1, 1, 1])), decay=0.01).argmax())
    4
    """
    _validate.positive(decay=decay)
    classes = rows.y.unique()
    if len(classes) < 2:
        return torch.zeros(len(rows), dtype=torch.float64)
    x = rows.x.flatten(1).double().numpy()
    model = LogisticRegression(C=1 / (decay * len(rows)), max_iter=_MOST_STEPS, tol=1e-6).fit(x, rows.y.numpy())
    log_probability = torch.from_numpy(model.predict_log_proba(x))
    place = torch.searchsorted(classes, rows.y)
    losses: Tensor = -log_probability.gather(1, place.unsqueeze(1)).squeeze(1)
    return losses


_MOST_STEPS = 10_000
