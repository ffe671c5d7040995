"""A tour of a minute: each kind of threat against plain training, clipping, noise and a filter, on embedded data.

Every kind is an experiment of its own: poison that is trained on from the start, knowing the model or not; a
back door; and poison for single targets while a trained model is trained further. The suites say all of it in detail.
"""

from gradshape.attacks import BadNetsPatch, LabelContamination, LabelFlip, PoisonFrogs
from gradshape.defenses import GradientShaping, NoDefense, SphereFilter
from gradshape.shaping import Clip, Noise
from gradshape.training import Adam, Recipe
from gradshape_bench import CaseOutcome, Expect, ExpectedFailure, Matrix, Smoke, Task, Threshold, benchmark_cases
from gradshape_bench.protocols import Backdoor, OneShot, Retrained
from gradshape_bench.targets import Targets

PAIR = Task("digits_38", Recipe("lr", Adam(0.01), batch_size=32, epochs=20), variant="tour")
DIGITS = Task("digits", Recipe("mlp", Adam(0.005), batch_size=50, epochs=10), Smoke(1000), variant="tour")
TRAINED = Task("digits_38", Recipe("mlp", Adam(0.002), batch_size=50, epochs=5), variant="tour")
CLIPPED, NOISY = GradientShaping(Clip(4)), GradientShaping(Clip(1) | Noise(1))
PATCH = BadNetsPatch(3)
PULLS = ExpectedFailure("each patched picture pulls as little as a clean one, and all pull the same way", "this file")


@benchmark_cases(
    Matrix(
        [PAIR],
        [LabelFlip(0.2), LabelContamination(0.1), LabelContamination(0.2)],
        [NoDefense(), CLIPPED, NOISY, SphereFilter()],
        thresholds=[Threshold("rad", "<", 0.15)],
    ),
    Matrix(
        [DIGITS],
        [PATCH],
        [NoDefense(), CLIPPED, NOISY],
        thresholds=[Threshold("backdoor_rate", "<", 0.2)],
        expected_failures=[Expect(PULLS, defenses=[NoDefense(), CLIPPED])],
        protocol=Backdoor(),
    ),
    Matrix(
        [TRAINED],
        [PoisonFrogs(3)],
        [NoDefense(), CLIPPED],
        thresholds=[Threshold("success_rate", "<", 0.5)],
        protocol=OneShot(Targets(4), Retrained(epochs=8)),
    ),
)
def test_tour(outcome: CaseOutcome) -> None:
    outcome.check()
