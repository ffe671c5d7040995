"""Random label flipping, free or inside the sphere and slab of the class that is claimed."""

import itertools
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks._drawing import draw_rows
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import BLACK_BOX, ThreatModel
from gradshape.constraints import FLOAT32_MARGIN, SphereSlab
from gradshape.data import Split


@dataclass(frozen=True)
class LabelFlip(ProportionalAttack):
    """Add copies of random training rows under a wrong label.

    ``round(fraction * n)`` rows are drawn, without replacement as long as there are enough; each gets a
    label drawn uniformly from the other classes (with two classes: the opposite one).

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing.
        feasible_quantile: ``None`` for free flips; else only flips ``(row, new label)`` are made that pass the
            sphere-and-slab filter of the new label's class, with radii at this quantile of that class's own
            rows, drawn *with* replacement (Koh, Steinhardt and Liang 2018, whose quantile is 0.9). With more
            than two classes the slab is the one between the new label's class and the row's own. Where no flip
            passes, as between classes far apart, free flips are moved to the nearest points of those sets and of the
            box, so that there is a control for attacks under these constraints on every task; the note ``moved`` says
            how far, on average, as an Euclidean distance.

    Raises:
        ValueError: ``fraction`` is outside [0, 1], or the quantile is outside (0, 1].

    The intensities of the paper's Fig. 4 are 0.01 to 0.4. Barreno et al. 2010; Hong et al. 2020, section 6.2.

    >>> from gradshape import data
    >>> poison = LabelFlip(0.1)(data.load("two_moons"), seed=0)
    >>> len(poison), bool((poison.y != data.load("two_moons").train.y[poison.source]).all())
    (70, True)
    """

    feasible_quantile: float | None = None

    threat: ClassVar[ThreatModel] = replace(
        BLACK_BOX, source="Barreno et al. 2010, The security of machine learning; Hong et al. 2020, section 6.2"
    )

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        if self.feasible_quantile is not None:
            _validate.positive_fraction(feasible_quantile=self.feasible_quantile)

    @property
    def label(self) -> str:
        kind = "label_flip" if self.feasible_quantile is None else f"label_flip_koh{100 * self.feasible_quantile:g}"
        return f"{kind}_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        train, classes = victim.train, victim.num_classes
        if self.feasible_quantile is None:
            source, labels = _free_flips(train, classes, count, generator)
        else:
            allowed = feasible_flips(train, classes, self.feasible_quantile).nonzero()
            if len(allowed) == 0:
                return self._moved(train, classes, count, generator)
            source, labels = allowed[torch.randint(len(allowed), (count,), generator=generator)].T
        return PoisonSet.added(train.x[source], labels.clone(), source=source.clone())

    def _moved(self, train: Split, classes: int, count: int, generator: torch.Generator) -> PoisonSet:
        """Draw free flips to classes that occur, at the nearest points that pass the filter."""
        assert self.feasible_quantile is not None
        source, labels = _free_flips(train, classes, count, generator)
        x = train.x.flatten(1).double()
        rows = x[source]
        for claimed, own in torch.stack([labels, train.y[source]]).unique(dim=1).T.tolist():
            if not bool((train.y == claimed).any()):
                raise ValueError(f"{self.label}: class {claimed} has no rows: expected some of every class")
            opposite = x[train.y == own].mean(0)
            inside = SphereSlab.around(
                x[train.y == claimed], opposite=opposite, quantile=self.feasible_quantile, boxed=True
            )
            members = (labels == claimed) & (train.y[source] == own)
            rows[members] = torch.lerp(inside.project(rows[members]), inside.centroid, FLOAT32_MARGIN)
        moved = {"moved": float((rows - x[source]).norm(dim=1).mean())}
        near = rows.float().clamp(0, 1).view(-1, *train.x.shape[1:])
        return PoisonSet.added(near, labels, source=source, notes=moved)


def _free_flips(train: Split, classes: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw rows, and for each a label drawn from the other classes."""
    source = draw_rows(len(train), count, generator).to(train.y.device)
    shift = torch.randint(1, classes, (count,), generator=generator).to(train.y.device)
    return source, (train.y[source] + shift) % classes


def feasible_flips(train: Split, num_classes: int, quantile: float) -> Tensor:
    """Return which label flips pass the sphere-and-slab filter of the label that they claim.

    For class ``c`` with centroid ``mu_c`` the sphere is ``|x - mu_c| <= r_c``; the slab against class ``k`` is
    ``|v . (x - mu_c)| <= s_ck`` with ``v = (mu_c - mu_k) / |mu_c - mu_k|``. The radii are quantiles over the rows of
    class ``c``.

    Args:
        train: clean rows.
        num_classes: ``C``.
        quantile: of the radii, in (0, 1].

    Returns:
        ``(N, C)`` bool: row ``i`` of class ``k`` may be relabelled ``c``; never true for its own class.

    Steinhardt, Koh and Liang 2017, section 3; Koh, Steinhardt and Liang 2018.
    """
    x = train.x.flatten(1).double()
    allowed = torch.zeros(len(train), num_classes, dtype=torch.bool, device=x.device)
    classes = {label: x[train.y == label] for label in train.y.unique().tolist()}
    for claimed, label in itertools.permutations(classes, 2):
        inside = SphereSlab.around(classes[claimed], opposite=classes[label].mean(0), quantile=quantile)
        allowed[train.y == label, claimed] = inside.contains(classes[label], tolerance=0)
    return allowed
