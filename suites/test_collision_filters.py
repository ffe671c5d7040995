"""What the field uses against collisions, filters in feature space, and other attacks on single targets."""

from gradshape.attacks import BullseyePolytope, ConvexPolytope, Nudge, PoisonFrogs, StingRay, SwitchOn
from gradshape.defenses import DeepKNN, Defense, SpectralSignatures, TargetedRONI
from gradshape.training import Adam, Recipe
from gradshape_bench import CaseOutcome, Matrix, Sized, Smoke, Task, benchmark_cases
from gradshape_bench.protocols import MultiPoison, OneShot
from gradshape_bench.targets import Targets
from suites.single_targets import DIGITS_MLP, MANY_FEW, PLACES, SMOKE, UNDEFENDED, retraining, shaped

DIGITS_PAIR = Task("digits_38", Recipe("mlp", Adam(0.002), batch_size=32, epochs=40), Smoke(epochs=10))

# Few re-trainings: whoever filters has to be asked for each, and no two of them share their rows.
ONE = OneShot(Targets(2), retraining(4))
SET = MultiPoison(Targets(2), retraining(4), at_once=2)
FILTERS: list[Defense] = [DeepKNN(), SpectralSignatures()]
# It tries every row beside small models, whose cost grows fast with their classes: minutes for each re-training on ten.
SLOW_FILTERS: list[Defense] = [TargetedRONI()]
CLIPPED = [*UNDEFENDED, shaped(0.1)]
SUBSTITUTES = (
    Recipe("mlp1", Adam(0.002), batch_size=50, epochs=5),
    Recipe("mlp", Adam(0.003), batch_size=50, epochs=5),
)
SETS = [
    StingRay(4, Nudge()),
    ConvexPolytope(5, substitutes=SUBSTITUTES, steps=200),
    BullseyePolytope(5, substitutes=SUBSTITUTES, steps=200),
]


@benchmark_cases(
    Matrix(
        [DIGITS_MLP],
        Sized(smoke=[PoisonFrogs(3)], paper=[PoisonFrogs(2)]),
        Sized(smoke=[*CLIPPED, *FILTERS], paper=[*CLIPPED, *FILTERS, *SLOW_FILTERS]),
        thresholds=[],
        protocol=ONE,
    ),
    Matrix(
        [DIGITS_PAIR], [PoisonFrogs(3)], [*CLIPPED, *FILTERS, *SLOW_FILTERS], thresholds=[], protocol=ONE, scales=SMOKE
    ),
    Matrix([DIGITS_MLP], SETS, [*CLIPPED, FILTERS[0]], thresholds=[], protocol=SET, scales=SMOKE),
    Matrix(
        [PLACES],
        Sized(smoke=[StingRay(16, SwitchOn())], paper=[StingRay(50, SwitchOn())]),
        CLIPPED,
        thresholds=[],
        protocol=Sized(smoke=MANY_FEW, paper=MultiPoison(Targets(20), retraining(50))),
    ),
)
def test_filters_and_other_attacks(outcome: CaseOutcome) -> None:
    outcome.check()
