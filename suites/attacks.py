"""Attacks that several suites set on their tasks."""

from gradshape.attacks import DataDependentSteinhardt, LabelFlip
from gradshape_bench import Sized

FLIPPED = LabelFlip(0.4)
# At smoke scale a search of seconds, which does about as much to these tasks as one of a minute.
DRAGGED = Sized(
    smoke=DataDependentSteinhardt(0.4, steps=24, splits=6, rungs=(0.2,)), paper=DataDependentSteinhardt(0.4)
)
FLIPPED_AND_DRAGGED = Sized(smoke=[FLIPPED, DRAGGED.smoke], paper=[FLIPPED, DRAGGED.paper])
