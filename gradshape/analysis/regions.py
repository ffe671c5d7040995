"""Decision regions: for which class a classifier decides at each point of a plane, and how sure it is."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gradshape import _validate, models
from gradshape.training import Recipe, State


@dataclass(frozen=True, eq=False)
class Regions:
    """A classifier's decisions at the centres of a grid of square cells over the unit square.

    Attributes:
        classes: ``(side, side)`` int64 class by row (second feature, from 0 up) and column (first feature).
        confidence: ``(side, side)`` float64 probability of that class, in [1/K, 1] for K classes.
    """

    classes: Tensor
    confidence: Tensor

    @property
    def side(self) -> int:
        """Number of cells along a side."""
        return len(self.classes)

    @property
    def boundary_length(self) -> float:
        """Length of the boundary between classes along the sides of the cells, in sides of the square.

        A straight boundary has the length of its projections on both axes, up to a cell: 1 if it is parallel to a
        side, and 2 for a diagonal.
        """
        beside = (self.classes[:, 1:] != self.classes[:, :-1]).sum()
        above = (self.classes[1:] != self.classes[:-1]).sum()
        return float(beside + above) / self.side

    def uncertain_area(self, *, below: float = 0.9) -> float:
        """Return the share of the square in which the confidence is less than ``below``, in [0, 1].

        Raises:
            ValueError: ``below`` lies outside [0, 1].
        """
        _validate.fraction(below=below)
        return float((self.confidence < below).double().mean())


def decision_regions(classify: Callable[[Tensor], Tensor], *, side: int = 64) -> Regions:
    """Ask a classifier at the centres of ``side x side`` cells of the unit square.

    Args:
        classify: maps ``(M, 2)`` float32 points to ``(M, K)`` logits.
        side: number of cells along a side, at least 1.

    Raises:
        ValueError: ``side`` is not positive, the logits have another shape, or one is not finite.

    Hong et al. 2020, Appendix D, Fig. 10.

    >>> regions = decision_regions(lambda x: torch.stack([0.5 - x[:, 0], x[:, 0] - 0.5], dim=1), side=4)
    >>> regions.classes[0].tolist(), regions.boundary_length
    ([0, 0, 1, 1], 1.0)
    """
    _validate.positive_int(side=side)
    centres = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    second, first = torch.meshgrid(centres, centres, indexing="ij")
    points = torch.stack([first, second], dim=2).flatten(0, 1)
    with torch.no_grad():
        logits = classify(points)
    if logits.ndim != 2 or len(logits) != len(points):
        raise ValueError(f"classify returned shape {tuple(logits.shape)}: expected ({len(points)}, K) logits")
    if not logits.isfinite().all():
        raise ValueError("classify returned logits that are not finite: there is no decision to draw")
    confidence, classes = logits.double().softmax(dim=1).max(dim=1)
    return Regions(classes.reshape(side, side), confidence.reshape(side, side))


def classifier(recipe: Recipe, state: State, *, num_classes: int, features: int = 2) -> nn.Module:
    """Rebuild a trained model from its parameters, in eval mode.

    Args:
        recipe: the recipe that it was trained by.
        state: its parameters by name, as :class:`~gradshape.training.TrainingResult` keeps them.
        num_classes: the number of its logits.
        features: the number of values in a row.

    >>> from gradshape.training import SGD
    >>> model = models.build("lr", (2,), 3)
    >>> again = classifier(Recipe("lr", SGD(1.0), batch_size=1, epochs=1), model.state_dict(), num_classes=3)
    >>> again(torch.rand(5, 2)).shape
    torch.Size([5, 3])
    """
    model = models.build(recipe.model, (features,), num_classes)
    model.load_state_dict(dict(state), strict=False)
    return model.eval()
