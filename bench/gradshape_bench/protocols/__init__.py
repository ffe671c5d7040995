"""Experiments around an attack, and what is needed to write others.

A protocol is a frozen dataclass with a label and an experiment: a generator that asks its :class:`Lab` for groups of
jobs, and is given their results in the same groups. Planning, sharing and caching are not its business.
"""

from gradshape_bench.protocols.accuracy import Accuracy
from gradshape_bench.protocols.backdoor import Backdoor
from gradshape_bench.protocols.base import Experiment, Measurement, Part, Subject
from gradshape_bench.protocols.boundary import DecisionBoundary
from gradshape_bench.protocols.clusters import Clusters
from gradshape_bench.protocols.from_scratch import CertificateContradicted, FromScratch
from gradshape_bench.protocols.gradients import GradientDifferences
from gradshape_bench.protocols.groups import Group, Results, Trainings
from gradshape_bench.protocols.lab import Lab, Protocol, experiment
from gradshape_bench.protocols.label_meanings import meaning
from gradshape_bench.protocols.retrain import Retrain
from gradshape_bench.protocols.single_targets.base import PAPERS_START
from gradshape_bench.protocols.single_targets.counted_epochs import Counted
from gradshape_bench.protocols.single_targets.from_scratch import ScratchTargets
from gradshape_bench.protocols.single_targets.multi_poison import MultiPoison
from gradshape_bench.protocols.single_targets.one_shot import OneShot
from gradshape_bench.protocols.single_targets.one_shot_gradients import OneShotGradients
from gradshape_bench.protocols.single_targets.targeted import Targeted
from gradshape_bench.protocols.start import By, Retrained, Scratch
from gradshape_bench.protocols.utility import Utility
from gradshape_bench.protocols.worst_case import WorstCase, WorstOf

__all__ = [
    "PAPERS_START",
    "Accuracy",
    "Backdoor",
    "By",
    "CertificateContradicted",
    "Clusters",
    "Counted",
    "DecisionBoundary",
    "Experiment",
    "FromScratch",
    "GradientDifferences",
    "Group",
    "Lab",
    "Measurement",
    "MultiPoison",
    "OneShot",
    "OneShotGradients",
    "Part",
    "Protocol",
    "Results",
    "Retrain",
    "Retrained",
    "Scratch",
    "ScratchTargets",
    "Subject",
    "Targeted",
    "Trainings",
    "Utility",
    "WorstCase",
    "WorstOf",
    "experiment",
    "meaning",
]
