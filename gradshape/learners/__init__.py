"""Small exact learners, and sets, that attacks and defences share."""

from gradshape.learners.dual_softmax import fit_dual_softmax
from gradshape.learners.feasible import FeasibleSets, Maximum, SphereSlab
from gradshape.learners.linear import LinearFit, Penalty, fit_linear
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge, SquaredMargin
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation

__all__ = [
    "FeasibleSets",
    "LinearFit",
    "Logistic",
    "MarginLoss",
    "Maximum",
    "ObjectivePerturbation",
    "OutputPerturbation",
    "Penalty",
    "SmoothedHinge",
    "SphereSlab",
    "SquaredMargin",
    "fit_dual_softmax",
    "fit_linear",
]
