"""Indiscriminate poisoning: random label flips against plain and clipped training.

The paper's Fig. 4 a (clipping norms) and b (noise at C = 4), and the same attack on other data and models.
"""

from bench.case import Smoke, Task
from bench.matrix import Matrix, Sized, benchmark_cases
from bench.verdict import Threshold
from gradshape.attacks import LabelFlip
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Adam, Recipe

INTENSITIES = (0, 0.01, 0.02, 0.03, 0.04, 0.05, 0.10, 0.20, 0.30, 0.40)
CLIPPING = [GradientShaping(Clip(norm)) for norm in (8, 4, 2, 1, 0.1)]
NOISE = [GradientShaping(Clip(4) | Noise(std)) for std in (1e-1, 1e-3, 1e-5, 1e-7)]
C4 = CLIPPING[1]

FLIPS = [LabelFlip(fraction) for fraction in INTENSITIES]
UNHARMED = [Threshold("rad", "<", 0.05)]

# Hong et al. 2020, section 6.2 and the released code.
FASHION_34 = Task(
    "fashion_mnist_34",
    Recipe("lr", Adam(0.01), batch_size=300, epochs=40),
    smoke=Smoke(train_rows=2400, epochs=15),
)
DIGITS_PAIR = Task("digits_38", Recipe("lr", Adam(0.01), batch_size=32, epochs=40), smoke=Smoke(epochs=20))
DIGITS = Task("digits", Recipe("lr", Adam(0.01), batch_size=32, epochs=40), smoke=Smoke(epochs=20))


@benchmark_cases(
    Matrix(
        tasks=[DIGITS_PAIR, DIGITS, FASHION_34],
        attacks=Sized(smoke=[FLIPS[0], FLIPS[6], FLIPS[9]], paper=FLIPS),
        defenses=[NoDefense(), *CLIPPING, *NOISE],
        thresholds=UNHARMED,
    )
)
def test_label_flips(outcome):
    outcome.check()


FASHION_MLP = Task(
    "fashion_mnist",
    Recipe("mlp", SGD(0.04), batch_size=100, epochs=100),
    smoke=Smoke(train_rows=6000, test_rows=2000, epochs=5),
)
