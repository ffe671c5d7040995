"""A tour of a minute: each kind of threat against plain training, clipping, noise and filters, on embedded data.

Every kind is an experiment of its own: wrong labels, and rows crafted for a model, that are trained on from the start;
a back door; and poison for single targets while a trained model is trained further. The suites say all of it in detail.
"""

from gradshape.attacks import BadNetsPatch, LabelFlip, PoisonFrogs, SvmAscent
from gradshape.defenses import GradientShaping, NoDefense, Sever, SlabFilter, SphereFilter
from gradshape.shaping import Clip, Noise
from gradshape.training import Adam, Fit, Recipe
from gradshape_bench import CaseOutcome, Expect, ExpectedFailure, Matrix, Smoke, Task, Threshold, benchmark_cases
from gradshape_bench.protocols import Backdoor, OneShot, Retrained
from gradshape_bench.targets import Targets

RECORDS = Task("purchase_synthetic", Recipe("lr", Adam(0.04), batch_size=100, epochs=5), Smoke(4000), variant="tour")
PAIR = Task("digits_38", Fit("svm_linear"), variant="tour")
DIGITS = Task("digits", Recipe("mlp", Adam(0.005), batch_size=50, epochs=10), Smoke(1000), variant="tour")

PLAIN, NOISY = NoDefense(), GradientShaping(Clip(1) | Noise(1))
CLIPPED = [GradientShaping(Clip(1)), GradientShaping(Clip(0.1))]
# Between the values that were measured, and so far from each that no processor's rounding turns a verdict.
HOLDS = [Threshold("rad", "<", 0.11)]

MEASURED = "measured by examples/test_tour.py"
LEARNED = ExpectedFailure("nothing stands in the way of the wrong labels, and all of them are learned", MEASURED)
AMID = ExpectedFailure("rows under wrong labels lie amid the right ones, so few are far from their class", MEASURED)
MADE = ExpectedFailure("the rows were crafted for such a model, and nothing stands in their way", MEASURED)
PULLS = ExpectedFailure("each patched picture pulls as little as a clean one, and all pull the same way", MEASURED)
COLLIDES = ExpectedFailure(
    "one row that the model takes for the target turns most targets; clipping bounds its pull, and does not end it",
    f"{MEASURED}; Hong et al. 2020, section 6.3, have fewer on Purchase-100",
)


@benchmark_cases(
    Matrix(
        [RECORDS],
        [LabelFlip(0.1), LabelFlip(0.2), LabelFlip(0.4)],
        [PLAIN, *CLIPPED, SphereFilter()],
        thresholds=HOLDS,
        expected_failures=[
            Expect(LEARNED, attacks=[LabelFlip(0.4)], defenses=[PLAIN]),
            Expect(AMID, attacks=[LabelFlip(0.4)], defenses=[SphereFilter()]),
        ],
    ),
    Matrix(
        [PAIR],
        [LabelFlip(0.2), SvmAscent(0.2)],
        [PLAIN, SlabFilter(), Sever()],
        thresholds=HOLDS,
        expected_failures=[Expect(MADE, attacks=[SvmAscent(0.2)], defenses=[PLAIN])],
    ),
    Matrix(
        [DIGITS],
        [BadNetsPatch(3)],
        [PLAIN, CLIPPED[0], NOISY],
        thresholds=[Threshold("backdoor_rate", "<", 0.2)],
        expected_failures=[Expect(PULLS, defenses=[PLAIN, CLIPPED[0]])],
        protocol=Backdoor(),
    ),
    Matrix(
        [RECORDS],
        [PoisonFrogs(1)],
        [PLAIN, *CLIPPED],
        thresholds=[Threshold("success_rate", "<", 0.5)],
        expected_failures=[Expect(COLLIDES)],
        protocol=OneShot(Targets(4), Retrained(epochs=4)),
    ),
)
def test_tour(outcome: CaseOutcome) -> None:
    outcome.check()
