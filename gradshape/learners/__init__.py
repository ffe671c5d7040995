"""Small exact learners, and sets, that attacks and defences share."""

from gradshape.learners.certificate import Certificate, certify
from gradshape.learners.dual_softmax import fit_dual_softmax
from gradshape.learners.feasible import FeasibleSets, Maximum, SphereSlab
from gradshape.learners.hinge import HingeFit, fit_hinge
from gradshape.learners.linear import LinearFit, Penalty, fit_linear
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge, SquaredMargin
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation

__all__ = [
    "Certificate",
    "FeasibleSets",
    "HingeFit",
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
    "certify",
    "fit_dual_softmax",
    "fit_hinge",
    "fit_linear",
]
