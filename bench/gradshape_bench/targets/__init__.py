"""The test rows that targeted attacks aim at, from fixed lists, so that everybody attacks the same ones."""

from gradshape_bench.targets.choice import Chosen, Targets, TooFewTargets, candidates
from gradshape_bench.targets.listing import write_list
from gradshape_bench.targets.stored import FOLDER, StoredList, StoredTarget, row_digest, stored

__all__ = [
    "FOLDER",
    "Chosen",
    "StoredList",
    "StoredTarget",
    "Targets",
    "TooFewTargets",
    "candidates",
    "row_digest",
    "stored",
    "write_list",
]
