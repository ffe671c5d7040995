"""Training victims: what is trained (Recipe, Victim) and training many of them at once."""

from gradshape.training.optimizers import SGD, Adam, Optimizer
from gradshape.training.plan import stack_key
from gradshape.training.probe import SIDES, GradientProbe, Layers, SideGradients, Weighting
from gradshape.training.recipe import AnyRecipe, Fit, Recipe, Sampling
from gradshape.training.run import Progress, train_stacks, train_victims
from gradshape.training.state import State
from gradshape.training.trained import TrainedModel
from gradshape.training.victim import OptimizerState, Scoring, TrainingResult, Victim

__all__ = [
    "SGD",
    "SIDES",
    "Adam",
    "AnyRecipe",
    "Fit",
    "GradientProbe",
    "Layers",
    "Optimizer",
    "OptimizerState",
    "Progress",
    "Recipe",
    "Sampling",
    "Scoring",
    "SideGradients",
    "State",
    "TrainedModel",
    "TrainingResult",
    "Victim",
    "Weighting",
    "stack_key",
    "train_stacks",
    "train_victims",
]
