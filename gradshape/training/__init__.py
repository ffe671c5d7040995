"""Training victims: what is trained (Recipe, Victim) and training many of them at once."""

from gradshape.training.optimizers import SGD, Adam, Optimizer
from gradshape.training.plan import stack_key
from gradshape.training.recipe import Recipe, Sampling
from gradshape.training.run import Progress, train_stacks, train_victims
from gradshape.training.victim import State, TrainingResult, Victim

__all__ = [
    "SGD",
    "Adam",
    "Optimizer",
    "Progress",
    "Recipe",
    "Sampling",
    "State",
    "TrainingResult",
    "Victim",
    "stack_key",
    "train_stacks",
    "train_victims",
]
