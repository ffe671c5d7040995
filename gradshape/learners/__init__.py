"""Learners that attacks, defences and the harness train beside networks, and the names that they are known by."""

from gradshape.learners.dual_softmax import fit_dual_softmax
from gradshape.learners.hinge import HingeFit, fit_hinge
from gradshape.learners.linear import LinearFit, Penalty, fit_linear
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge, SquaredMargin
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation
from gradshape.learners.registry import (
    Estimator,
    Factory,
    Setting,
    build,
    check_predictions,
    factory,
    names,
    register,
    registered,
    restore,
)

__all__ = [
    "Estimator",
    "Factory",
    "HingeFit",
    "LinearFit",
    "Logistic",
    "MarginLoss",
    "ObjectivePerturbation",
    "OutputPerturbation",
    "Penalty",
    "Setting",
    "SmoothedHinge",
    "SquaredMargin",
    "build",
    "check_predictions",
    "factory",
    "fit_dual_softmax",
    "fit_hinge",
    "fit_linear",
    "names",
    "register",
    "registered",
    "restore",
]
