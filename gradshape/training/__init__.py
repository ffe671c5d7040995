"""Training victims: what is trained (Recipe, Victim) and training many of them at once."""

from gradshape.training.family import Family, Learned, Needs, Score, Stack
from gradshape.training.network_family import Stepper
from gradshape.training.objective import known_penalty, loss_of, penalty_of
from gradshape.training.optimizers import SGD, Adam, Optimizer
from gradshape.training.plan import stack_key
from gradshape.training.probe import SUBSETS, GradientProbe, Layers, SubsetGradients, Weighting
from gradshape.training.recipe import AnyRecipe, Fit, Recipe, Sampling, steps_per_epoch
from gradshape.training.run import Progress, train_stacks, train_victims
from gradshape.training.state import State
from gradshape.training.stepping import steppers
from gradshape.training.trained import TrainedModel
from gradshape.training.victim import OptimizerState, Scoring, TrainingResult, Victim
from gradshape.training.workload import Workload

__all__ = [
    "SGD",
    "SUBSETS",
    "Adam",
    "AnyRecipe",
    "Family",
    "Fit",
    "GradientProbe",
    "Layers",
    "Learned",
    "Needs",
    "Optimizer",
    "OptimizerState",
    "Progress",
    "Recipe",
    "Sampling",
    "Score",
    "Scoring",
    "Stack",
    "State",
    "Stepper",
    "SubsetGradients",
    "TrainedModel",
    "TrainingResult",
    "Victim",
    "Weighting",
    "Workload",
    "known_penalty",
    "loss_of",
    "penalty_of",
    "stack_key",
    "steppers",
    "steps_per_epoch",
    "train_stacks",
    "train_victims",
]
