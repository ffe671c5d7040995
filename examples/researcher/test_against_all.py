"""Everything in this folder beside what the library has: attacks by defences, on each way of training."""

from gated import Gated
from mirror import Mirror
from nearest_mean import NearestMean
from nearest_row import nearest_row
from rings import rings
from square_root import rooted

from gradshape.attacks import LabelContamination, LabelFlip
from gradshape.defenses import GradientShaping, NearestNeighborFilter, NoDefense, SphereFilter
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Adam, Fit, Recipe
from gradshape_bench import CaseOutcome, Matrix, Task, Threshold, benchmark_cases

NETWORK = Task(rings, Recipe(Gated, Adam(0.01), batch_size=32, epochs=15))
FUNCTION = Task(rings, Fit(nearest_row), surrogate=Recipe("mlp1", SGD(0.1), batch_size=32, epochs=20))
ATTACKS = [Mirror(0.2), LabelFlip(0.2), LabelContamination(0.2)]
FILTERS = [NoDefense(), NearestMean(0.1), SphereFilter(0.1), NearestNeighborFilter(0.1)]
SHAPING = [GradientShaping(shaper) for shaper in (rooted(0.5), Clip(0.5), Clip(0.5) | Noise(0.1))]


@benchmark_cases(
    Matrix([NETWORK], ATTACKS, [*FILTERS, *SHAPING], thresholds=[Threshold("accuracy_clean", ">", 0.8)]),
    Matrix([FUNCTION], ATTACKS, FILTERS, thresholds=[Threshold("accuracy_clean", ">", 0.8)]),
)
def test_against_all(outcome: CaseOutcome) -> None:
    outcome.check()
