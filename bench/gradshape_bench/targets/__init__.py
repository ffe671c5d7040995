"""The test rows that targeted attacks aim at, from fixed lists, so that everybody attacks the same ones."""

from gradshape_bench.targets.choice import Chosen, Targets, TooFewTargets, candidates
from gradshape_bench.targets.listing import write_list
from gradshape_bench.targets.stored import FOLDER

__all__ = ["FOLDER", "Chosen", "Targets", "TooFewTargets", "candidates", "write_list"]
