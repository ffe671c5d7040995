"""Certified defence: leave out rows outside a sphere around their class and a slab between it and another class."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.constraints import SphereSlab
from gradshape.data import Split
from gradshape.defenses._centroids import Centroids
from gradshape.defenses.base import FILTER, Assumptions, Defense, Suspect
from gradshape.defenses.removal import lacks_classes
from gradshape.training import AnyRecipe


@dataclass(frozen=True)
class SphereSlabFilter(Defense):
    """The certified defence with centroids and radii of clean rows and poison together, which poison can move.

    Args:
        quantile: of the distances of a class's rows, in (0, 1]; 0.7 in the paper. Rows within it stay, see
            :func:`inside_sphere_and_slab`; as sphere and slab leave out different rows, fewer than this share may.

    Raises:
        ValueError: the quantile is out of range.

    Steinhardt, Koh and Liang 2017, section 3.2: the data-dependent defence.

    >>> from gradshape import data
    >>> train = data.load("two_moons").train
    >>> mask = SphereSlabFilter(0.7).filter(train, generator=torch.Generator().manual_seed(0))
    >>> 0.4 < mask.double().mean() <= 0.7
    tensor(True)
    """

    quantile: float = 0.7

    assumptions: ClassVar[Assumptions] = replace(
        FILTER,
        knows_model=True,
        source="Steinhardt, Koh and Liang 2017, Certified defenses for data poisoning attacks, section 3.2",
    )

    def __post_init__(self) -> None:
        _validate.positive_fraction(quantile=self.quantile)

    def label_for(self, recipe: AnyRecipe) -> str:
        return f"sphere_slab_q{100 * self.quantile:g}"

    def refuses(self, recipe: AnyRecipe, *, num_classes: int | None) -> str | None:
        return lacks_classes(num_classes)

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        return inside_sphere_and_slab(train, quantile=self.quantile)


@dataclass(frozen=True)
class OracleSphereSlabFilter(SphereSlabFilter):
    """The certified defence with centroids and radii of the clean rows, which poison cannot move.

    Only this form has a certificate, an upper bound of the loss of a linear classifier under every attack, which an
    attack reports beside what it reached. The paper counts the knowledge of the model as assumed, for the certificate;
    the filter does not use it.

    Args:
        quantile: of the distances of a class's clean rows, in (0, 1]; 0.7 in the paper. See
            :func:`inside_sphere_and_slab`.

    Raises:
        ValueError: the quantile is out of range.

    Steinhardt, Koh and Liang 2017, section 3.1: the fixed, or oracle, defence; Hong et al. 2020, Table 2.

    >>> from gradshape import data
    >>> from gradshape.defenses import Suspect
    >>> moons, known = data.load("two_moons").train, OracleSphereSlabFilter.assumptions
    >>> rows = Suspect(moons.x[:50], moons.y[:50], num_classes=2, assumptions=known, clean=moons)
    >>> OracleSphereSlabFilter(1.0).filter(rows, generator=torch.Generator()).all()
    tensor(True)
    """

    assumptions: ClassVar[Assumptions] = replace(
        SphereSlabFilter.assumptions,
        source="Steinhardt, Koh and Liang 2017, Certified defenses for data poisoning attacks, section 3.1",
        knows_clean=True,
    )

    def label_for(self, recipe: AnyRecipe) -> str:
        return f"oracle_sphere_slab_q{100 * self.quantile:g}"

    def keep(self, train: Suspect, *, generator: torch.Generator) -> Tensor:
        return inside_sphere_and_slab(train, quantile=self.quantile, statistics=train.clean)


def inside_sphere_and_slab(rows: Split, *, quantile: float, statistics: Split | None = None) -> Tensor:
    """Find the rows in the sphere of their class and in the slab between it and the nearest other class.

    For class ``c`` with centroid ``mu_c`` the sphere is ``|x - mu_c| <= r_c``; the slab against class ``k`` is
    ``|v . (x - mu_c)| <= s_ck`` with ``v = (mu_c - mu_k) / |mu_c - mu_k|``, so that the half-width is a distance.
    Radii and half-widths are quantiles over the rows of class ``c``. With more than two classes a row has to lie in
    the slab against *one* other class ``k``, whose centroid is nearest to the row: for a row that was relabelled this
    is mostly the class that it comes from. With one class there is no slab.

    Args:
        rows: ``N`` rows to judge.
        quantile: in [0, 1]; values between two distances are interpolated.
        statistics: rows that centroids and radii are taken from; ``rows`` if omitted. Rows of a class that does not
            occur there are outside.

    Returns:
        ``(N,)`` bool. Distances may exceed the limits by 1e-6, the rounding of float32 rows.

    Steinhardt, Koh and Liang 2017, section 3.1, for two classes.

    >>> x = torch.tensor([[0.0], [0.1], [0.2], [0.9], [1.0], [0.1]])
    >>> inside_sphere_and_slab(Split(x, torch.tensor([0, 0, 0, 1, 1, 1])), quantile=0.7).tolist()
    [True, True, True, True, True, False]
    """
    known = rows if statistics is None else statistics
    centroids = Centroids.from_rows(known)
    x, known_x = rows.x.flatten(1).double(), known.x.flatten(1)
    own, other = centroids.own(rows.y), centroids.nearest_other(rows)
    keep = torch.zeros(len(rows), dtype=torch.bool)
    for place, label in enumerate(centroids.classes.tolist()):
        class_rows = known_x[known.y == label].double()
        members = own == place
        for against in other[members].unique().tolist():
            inside = SphereSlab.around(class_rows, opposite=centroids.means[against], quantile=quantile)
            judged = (members & (other == against)).nonzero().squeeze(1)
            keep[judged] = inside.contains(x[judged])
    return keep
