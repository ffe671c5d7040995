"""Learners that are no networks, for attacks, defences and victims, and the registry of their names."""

from gradshape.learners.dual_softmax import fit_dual_softmax
from gradshape.learners.hinge import HingeFit, fit_hinge
from gradshape.learners.implicit import adjoint, label_gradient, mixture_gradient, row_gradient
from gradshape.learners.linear import LinearFit, Penalty, fit_linear
from gradshape.learners.logistic import fit_logistic
from gradshape.learners.margin_loss import Logistic, MarginLoss, SmoothedHinge, SquaredMargin
from gradshape.learners.own import Learnable, OnRows, named
from gradshape.learners.private import ObjectivePerturbation, OutputPerturbation, PrivateNoise
from gradshape.learners.registry import (
    Estimator,
    Factory,
    Learner,
    Setting,
    build,
    check_classes,
    check_values,
    is_ours,
    keeping_apart,
    learner,
    names,
    register,
    registered,
    restore,
)
from gradshape.learners.spambayes import SpamBayes

__all__ = [
    "Estimator",
    "Factory",
    "HingeFit",
    "Learnable",
    "Learner",
    "LinearFit",
    "Logistic",
    "MarginLoss",
    "ObjectivePerturbation",
    "OnRows",
    "OutputPerturbation",
    "Penalty",
    "PrivateNoise",
    "Setting",
    "SmoothedHinge",
    "SpamBayes",
    "SquaredMargin",
    "adjoint",
    "build",
    "check_classes",
    "check_values",
    "fit_dual_softmax",
    "fit_hinge",
    "fit_linear",
    "fit_logistic",
    "is_ours",
    "keeping_apart",
    "label_gradient",
    "learner",
    "mixture_gradient",
    "named",
    "names",
    "register",
    "registered",
    "restore",
    "row_gradient",
]
