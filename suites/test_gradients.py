"""How the gradients of poison differ from those of clean rows while a model is trained on both.

The paper's Fig. 1 and 2 (interpolated pictures and patches over their intensity), Fig. 4 c and f (label flips and the
attack of Steinhardt et al., plain and clipped), Fig. 8 (where that poison lies) and Fig. 11 (what is learned of it).
"""

from gradshape.attacks import BadNetsPatch, Watermark
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import SGD, Layers, Weighting
from gradshape_bench import CaseOutcome, Matrix, Sized, Smoke, Task, Threshold, benchmark_cases
from gradshape_bench.protocols import Clusters, GradientDifferences, Retrained
from suites.attacks import DRAGGED, FLIPPED, FLIPPED_AND_DRAGGED
from suites.tasks import DIGITS_38, FASHION_34, FASHION_MLP

ALPHAS, SIZES = (0.1, 0.2, 0.4, 0.6, 0.8, 1), (1, 4, 7, 10, 14)
DRESS, COAT = 3, 4

FASHION = Task(
    "fashion_mnist",
    FASHION_MLP,
    Smoke(train_rows=3000, test_rows=1000, epochs=15),
)

# Dress under coat, as in the paper: 100 pictures, whatever the number of clean ones.
OVERLAYS = [Watermark(alpha, count=100) for alpha in ALPHAS]
OVERLAYS_OF_TEN = [Watermark(alpha, count=100, classes=(DRESS, COAT)) for alpha in ALPHAS]
PATCHES = [BadNetsPatch(size, claimed=COAT) for size in SIZES]

OPPOSED = [Threshold("cosine_similarity", "<", 0)]
LARGER_AND_OPPOSED = [Threshold("magnitude_ratio", ">", 1), *OPPOSED]
MANY_KINDS, FEW_KINDS = [Threshold("distinct_poisons", ">", 100)], [Threshold("distinct_poisons", "<=", 6)]
LEARNED = [Threshold("magnitude_ratio_first_epoch", ">", 1)]


def retraining(optimizer: SGD) -> Sized[GradientDifferences]:
    """Base models trained further, on few epochs at smoke scale."""
    return Sized(
        smoke=GradientDifferences(Retrained(epochs=5, optimizer=optimizer)),
        paper=GradientDifferences(Retrained(epochs=20, optimizer=optimizer)),
    )


@benchmark_cases(
    Matrix([FASHION_34], OVERLAYS, [NoDefense()], thresholds=LARGER_AND_OPPOSED, protocol=GradientDifferences()),
)
def test_collision_from_scratch(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix([FASHION], OVERLAYS_OF_TEN, [NoDefense()], thresholds=LARGER_AND_OPPOSED, protocol=retraining(SGD(0.04))),
)
def test_collision_in_retraining(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix([FASHION], PATCHES, [NoDefense()], thresholds=LEARNED, protocol=retraining(SGD(0.01))),
)
def test_insertion_in_retraining(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix(
        [DIGITS_38, FASHION_34],
        FLIPPED_AND_DRAGGED,
        [NoDefense(), GradientShaping(Clip(4))],
        thresholds=OPPOSED,
        protocol=GradientDifferences(),
    ),
    Matrix(
        [DIGITS_38],
        [FLIPPED],
        [NoDefense()],
        thresholds=OPPOSED,
        protocol=GradientDifferences(layers=Layers.ALL, weighting=Weighting.SAMPLE, bias=True),
    ),
)
def test_indiscriminate_poison(outcome: CaseOutcome) -> None:
    outcome.check()


# Flipped rows are as many as there are; the state of the art is a few, repeated.
@benchmark_cases(
    Matrix([DIGITS_38, FASHION_34], [FLIPPED], [NoDefense()], thresholds=MANY_KINDS, protocol=Clusters()),
    Matrix(
        [DIGITS_38, FASHION_34],
        Sized(smoke=[DRAGGED.smoke], paper=[DRAGGED.paper]),
        [NoDefense()],
        thresholds=FEW_KINDS,
        protocol=Clusters(),
    ),
)
def test_clusters(outcome: CaseOutcome) -> None:
    outcome.check()
