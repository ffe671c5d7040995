"""Bullseye Polytope: poison whose mean features are the target's in several networks."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from gradshape.attacks.feature_collision._polytope import PolytopeAttack, transfer_threat
from gradshape.attacks.threat import ThreatModel


@dataclass(frozen=True)
class BullseyePolytope(PolytopeAttack):
    """Shift rows of the intended class until, in every substitute network, their mean features are the target's.

    The loss of a network is ``|phi(t) - mean_j phi(p_j)| / |phi(t)|``: the Convex Polytope with equal coefficients, and
    not squared, as in the authors' code. The target then lies in the middle of the polytope, not at its border.

    Aghakhani et al. 2021, Bullseye Polytope; rate, epsilon and number of poisons are the authors', whose
    scripts take 800 to 1,500 steps. Departing from them, a target keeps its best poison, not the last, and there is no
    mean over several passes with dropout: the substitutes are deterministic.

    >>> from gradshape.training import SGD, Recipe
    >>> BullseyePolytope(substitutes=(Recipe("mlp", SGD(0.1), batch_size=100, epochs=20),), epsilon=0.2).label
    'bullseye_polytope_mlp_eps0.2_5'
    """

    name: ClassVar[str] = "bullseye_polytope"
    threat: ClassVar[ThreatModel] = transfer_threat("Aghakhani et al. 2021, Bullseye Polytope")

    def coefficients(self, features: Tensor, goal: Tensor, start: Tensor | None) -> Tensor:
        return features.new_full(features.shape[:2], 1 / features.shape[1])

    def loss(self, residual: Tensor) -> Tensor:
        return residual
