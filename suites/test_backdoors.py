"""Back doors: a patch in a corner that comes to mean one class, from scratch and in re-training.

The insertion half of the paper's section 3 (Fig. 1, third column), with what it opens: BadNets (Gu et al. 2019).
"""

from gradshape.attacks import BadNetsPatch
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import SGD, Adam, Recipe
from gradshape_bench import CaseOutcome, Matrix, Scale, Task, Threshold, benchmark_cases
from gradshape_bench.protocols import Backdoor, Retrained
from suites.tasks import FASHION_MLP

DIGITS = Task("digits", Recipe("mlp", Adam(0.005), batch_size=50, epochs=15))
FASHION = Task("fashion_mnist", FASHION_MLP)

# Clipping bounds how far a patched picture pulls, and a thousand of them still pull the same way; noise drowns them.
OPEN = [Threshold("backdoor_rate", ">", 0.6), Threshold("backdoor_rate_clean", "<", 0.05), Threshold("rad", "<", 0.05)]
SHUT = [Threshold("backdoor_rate", "<", 0.2), Threshold("utility_loss", "<", 0.10)]
CLIPPED, NOISY = GradientShaping(Clip(1)), GradientShaping(Clip(1) | Noise(1))
PATCHES = [BadNetsPatch(size, claimed=4) for size in (1, 4, 7, 10, 14)]


@benchmark_cases(
    Matrix([DIGITS], [BadNetsPatch(2), BadNetsPatch(3)], [NoDefense(), CLIPPED], thresholds=OPEN, protocol=Backdoor()),
    Matrix([DIGITS], [BadNetsPatch(2), BadNetsPatch(3)], [NOISY], thresholds=SHUT, protocol=Backdoor()),
    Matrix(
        [DIGITS], [BadNetsPatch(3)], [NoDefense(), CLIPPED], thresholds=OPEN, protocol=Backdoor(Retrained(epochs=5))
    ),
    Matrix([DIGITS], [BadNetsPatch(3)], [NOISY], thresholds=SHUT, protocol=Backdoor(Retrained(epochs=5))),
    # At smoke scale a few thousand pictures and a few epochs open no door: nothing would be shown.
    Matrix(
        [FASHION],
        PATCHES,
        [NoDefense(), CLIPPED, GradientShaping(Clip(1) | Noise(0.1))],
        thresholds=[],
        protocol=Backdoor(Retrained(epochs=20, optimizer=SGD(0.01))),
        scales=[Scale.PAPER],
    ),
)
def test_backdoor(outcome: CaseOutcome) -> None:
    outcome.check()
