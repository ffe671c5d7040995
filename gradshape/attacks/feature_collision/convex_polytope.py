"""Convex Polytope: poison whose features surround the target's in several networks, to carry over to others."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gradshape.attacks.feature_collision._polytope import PolytopeAttack, transfer_threat
from gradshape.attacks.feature_collision._simplex import nearest_in_polytope
from gradshape.attacks.threat import ThreatModel

# A step of the poison changes little, so that few suffice from where the last one ended.
_STEPS, _TOLERANCE = 50, 1e-5


@dataclass(frozen=True)
class ConvexPolytope(PolytopeAttack):
    """Shift rows of the intended class until, in every substitute network, the target lies in their convex hull.

    The loss of a network is ``|phi(t) - sum_j c_j phi(p_j)|^2 / (2 |phi(t)|^2)``, with its own coefficients ``c`` of
    the simplex, which are solved for before every step (:func:`nearest_in_polytope`, from those of the step before).

    Zhu et al. 2019, Transferable Clean-Label Poisoning Attacks on Deep Neural Nets; rate, epsilon and number of poisons
    are the authors'. Their code departs: it takes 4,000 steps and the last poison, has fixed pictures as bases, and
    leaves dropout on in the substitutes while it crafts. Here the substitutes are deterministic.

    >>> from gradshape.training import SGD, Recipe
    >>> recipes = [Recipe(name, SGD(0.1), batch_size=100, epochs=20) for name in ("mlp", "mlp1")]
    >>> ConvexPolytope(substitutes=tuple(recipes)).label
    'convex_polytope_mlp-mlp1_5'
    """

    name: ClassVar[str] = "convex_polytope"
    threat: ClassVar[ThreatModel] = transfer_threat("Zhu et al. 2019, Transferable Clean-Label Poisoning Attacks")

    def coefficients(self, features: Tensor, goal: Tensor, start: Tensor | None) -> Tensor:
        return nearest_in_polytope(features, goal, start=start, steps=_STEPS, tolerance=_TOLERANCE)

    def loss(self, residual: Tensor) -> Tensor:
        return residual.square() / 2
