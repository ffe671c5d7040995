"""Utility against privacy, without an attack: what clipping and noise cost, and which epsilon they buy.

The paper's Fig. 10 (Appendix D): the decision boundary on two moons. Its Fig. 12 (Appendix F): logistic regression,
multi-layer perceptron and convolutional network over the clipping norm C and the noise sigma, which is the standard
deviation on the sum of the clipped gradients.
"""

from collections.abc import Sequence

from gradshape.attacks import NoAttack
from gradshape.defenses import Defense, GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Recipe
from gradshape_bench import CaseOutcome, Matrix, Scale, Sized, Smoke, Task, Threshold, benchmark_cases
from gradshape_bench.protocols import DecisionBoundary, Utility
from suites.tasks import FASHION_MLP, PICTURES_CNN, RECORDS_LR

NORMS, FEW_NORMS = (8, 4, 2, 1, 0.1), (4, 0.1)


def noisy(norms: tuple[float, ...], *stds: float) -> list[Defense]:
    """Every clipping norm with every noise."""
    return [GradientShaping(Clip(norm) | Noise(std)) for norm in norms for std in stds]


CLIPPED: Sized[Sequence[Defense]] = Sized(
    smoke=[GradientShaping(Clip(norm)) for norm in FEW_NORMS], paper=[GradientShaping(Clip(norm)) for norm in NORMS]
)
FAINT = Sized(smoke=noisy(FEW_NORMS, 0.01), paper=noisy(NORMS, 0.001, 0.01, 0.1))
LOUDEST = (0.4, 0.8, 1, 2, 4)
LOUD = Sized(smoke=noisy((4,), 0.4, 4), paper=noisy((8, 4, 2, 1), *LOUDEST))
LOUD_AND_TIGHT = Sized(smoke=noisy((0.1,), 0.4, 4), paper=noisy((0.1,), *LOUDEST))
GRID: Sized[Sequence[Defense]] = Sized(
    smoke=[NoDefense(), *CLIPPED.smoke, *FAINT.smoke, *LOUD.smoke, *LOUD_AND_TIGHT.smoke],
    paper=[NoDefense(), *CLIPPED.paper, *FAINT.paper, *LOUD.paper, *LOUD_AND_TIGHT.paper],
)
CORNERS = [NoDefense(), *CLIPPED.smoke, *noisy(FEW_NORMS, 4)]

# The paper's data, and stand-ins that are embedded.
REAL = Task("purchase100", RECORDS_LR)
STAND_IN = Task("purchase_synthetic", RECORDS_LR, Smoke(train_rows=3000, test_rows=3000, epochs=8))
PICTURES = [
    Task("fashion_mnist", FASHION_MLP),
    Task("cifar10", PICTURES_CNN),
]
DIGITS = Task("digits", Recipe("mlp", SGD(0.1), batch_size=50, epochs=100), Smoke(train_rows=600, epochs=8))
DIGITS_CNN = Task("digits", Recipe("cnn", SGD(0.1), batch_size=50, epochs=100), Smoke(train_rows=400, epochs=5))

# Adam cancels a common scale, so clipping alone is nearly free however small the norm; and noise drowns what it leaves.
# On Purchase-100 the paper's model keeps .7086 of .7165 at C = 0.1, and .1804 at C = 4 with sigma = 0.4 (its published
# results). On a stand-in the order is asserted, not the digits: loud noise costs more than clipping does, and drowns
# everything where clipping leaves little.
NEARLY_FREE = [Threshold("utility_loss", "<=", 0.02)]
COSTS = [Threshold("utility_loss", ">", 0.02)]
DROWNED = [Threshold("utility_loss", ">=", 0.5)]

NOBODY = [NoAttack()]
PAPER, SMOKE = [Scale.PAPER], [Scale.SMOKE]


@benchmark_cases(
    Matrix([STAND_IN], NOBODY, [NoDefense()], thresholds=[], protocol=Utility()),
    Matrix([REAL], NOBODY, [NoDefense()], thresholds=[], protocol=Utility(), scales=PAPER),
    Matrix([STAND_IN], NOBODY, CLIPPED, thresholds=NEARLY_FREE, protocol=Utility()),
    Matrix([STAND_IN], NOBODY, FAINT, thresholds=[], protocol=Utility()),
    Matrix([STAND_IN], NOBODY, LOUD, thresholds=COSTS, protocol=Utility()),
    Matrix([STAND_IN], NOBODY, LOUD_AND_TIGHT, thresholds=DROWNED, protocol=Utility()),
    Matrix([REAL], NOBODY, CLIPPED, thresholds=NEARLY_FREE, protocol=Utility(), scales=PAPER),
    Matrix([REAL], NOBODY, FAINT, thresholds=[], protocol=Utility(), scales=PAPER),
    Matrix([REAL], NOBODY, noisy((8,), *LOUDEST), thresholds=COSTS, protocol=Utility(), scales=PAPER),
    Matrix([REAL], NOBODY, noisy((4, 2, 1, 0.1), *LOUDEST), thresholds=DROWNED, protocol=Utility(), scales=PAPER),
    Matrix([DIGITS], NOBODY, GRID, thresholds=[], protocol=Utility()),
    Matrix([DIGITS_CNN], NOBODY, CORNERS, thresholds=[], protocol=Utility(), scales=SMOKE),
    Matrix(PICTURES, NOBODY, GRID, thresholds=[], protocol=Utility(), scales=PAPER),
)
def test_utility(outcome: CaseOutcome) -> None:
    outcome.check()


# The paper gives accuracies, 0.98 and 0.97 with C = sigma = 1, and no recipe.
MOONS = Task("two_moons", Recipe("mlp", SGD(1.0), batch_size=100, epochs=200), Smoke(epochs=60))


@benchmark_cases(
    Matrix(
        [MOONS],
        NOBODY,
        [NoDefense()],
        thresholds=Sized(
            smoke=[Threshold("accuracy_clean", ">", 0.90)], paper=[Threshold("accuracy_clean", ">", 0.97)]
        ),
        protocol=DecisionBoundary(),
    ),
    Matrix(
        [MOONS],
        NOBODY,
        noisy((1,), 1),
        thresholds=Sized(
            smoke=[Threshold("accuracy_clean", ">", 0.85)],
            paper=[Threshold("accuracy_clean", ">", 0.95), Threshold("utility_loss", "<", 0.04)],
        ),
        protocol=DecisionBoundary(),
    ),
)
def test_boundary(outcome: CaseOutcome) -> None:
    outcome.check()
