"""What every attack that applies to a task is set against: the rows of the paper's Table 2, and how each is judged.

Two controls bound every filter: one that knows the poison, and one that removes as many rows at random.
"""

from gradshape.defenses import (
    RONI,
    Defense,
    GradientShaping,
    LossFilter,
    NearestNeighborFilter,
    NoDefense,
    OracleSphereSlabFilter,
    PerfectFilter,
    RandomFilter,
    Sever,
    SlabFilter,
    SphereFilter,
    SphereSlabFilter,
    SVDFilter,
)
from gradshape.shaping import Clip, Noise
from gradshape_bench import ExpectedFailure, Sized, Threshold

NOTHING: list[Defense] = [NoDefense()]
CONTROLS: list[Defense] = [PerfectFilter(), RandomFilter()]
SHAPING: list[Defense] = [GradientShaping(Clip(4)), GradientShaping(Clip(1) | Noise(0.1))]
# Removal by distance and by loss: any number of classes, no clean row needed (but for the oracle), any budget.
SANITIZERS: list[Defense] = [
    SphereFilter(),
    SlabFilter(),
    SphereSlabFilter(),
    OracleSphereSlabFilter(),
    LossFilter(),
    SVDFilter(),
    NearestNeighborFilter(),
]
FILTERS = [*SANITIZERS, Sever(), RONI()]

# Some dozen test rows at smoke scale tell no drop of 0.05 from one of 0.08.
CLASSIFIED = Sized(
    smoke=[Threshold("rad", "<", 0.10), Threshold("utility_loss", "<", 0.10)],
    paper=[Threshold("rad", "<", 0.05), Threshold("utility_loss", "<", 0.10)],
)

# What was seen to fail at smoke scale, or to come within one test row of it, and why. Chance is no defence.
UNDEFENDED = ["vanilla", "random_filter"]
FIVE_PERCENT = ["sphere_5", "slab_5", "loss_5", "svd_5", "knn_5"]
MEASURED = "this suite, smoke scale"
WORKS = ExpectedFailure("the attack was made for such a model, and nothing or chance stands in its way", MEASURED)
