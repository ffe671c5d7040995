"""The sets of rows that pass a filter, sphere and slab of a class inside the unit box, and optimisation over them."""

from gradshape.constraints.capped import maximise_capped
from gradshape.constraints.feasible import FLOAT32_MARGIN, FeasibleSets, Maximum, SphereSlab

__all__ = ["FLOAT32_MARGIN", "FeasibleSets", "Maximum", "SphereSlab", "maximise_capped"]
