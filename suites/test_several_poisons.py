"""More and more poison rows together for single targets, while a trained model is trained further.

The paper's Fig. 6 (several poisons), Table 3 (who is trained and re-trained by which recipe, with one poison row and
with several), and its section 7.2 (noise that follows the gradients).
"""

from dataclasses import replace

from gradshape.attacks import PoisonFrogs
from gradshape.defenses import Defense, GradientShaping
from gradshape.shaping import AdaptiveNoise, Clip
from gradshape_bench import CaseOutcome, Expect, Matrix, Sized, Threshold, benchmark_cases
from gradshape_bench.protocols import By, MultiPoison
from gradshape_bench.targets import Targets
from suites.single_targets import (
    CHEAP,
    CLIPPED,
    DIGITS_LR,
    DIGITS_MLP,
    HOLDS,
    MANY,
    MANY_FEW,
    MANY_PAIR,
    ONE_FEW,
    ONE_NEAREST,
    PAPER,
    REAL_MLP,
    SMOKE,
    STAND_IN,
    STAND_IN_MLP,
    UNDEFENDED,
    UNMOVED,
    WITH_REAL,
    retraining,
    shaped,
)

SEVERAL = Sized(smoke=[PoisonFrogs(16)], paper=[PoisonFrogs(12)])
SOME_NOISY = [shaped(4, std) for std in (0.01, 0.1, 1)]

# The paper's section 6.4: clipping makes the attacker use more poison, and does not stop it; noise does.
MORE = [Threshold("success_rate", ">", 0.8), Threshold("utility_loss", "<", 0.10)]
KNOWN = [
    Expect(UNMOVED, tasks=[STAND_IN], attacks=SEVERAL.smoke, defenses=[shaped(4, 1)], scales=SMOKE),
    Expect(UNMOVED, tasks=[STAND_IN], attacks=SEVERAL.paper, defenses=SOME_NOISY, scales=PAPER),
]


@benchmark_cases(
    Matrix(
        WITH_REAL,
        SEVERAL,
        Sized(smoke=[*UNDEFENDED, shaped(1), shaped(0.1)], paper=[*UNDEFENDED, *CLIPPED]),
        thresholds=MORE,
        expected_failures=KNOWN,
        protocol=MANY,
    ),
    Matrix(
        WITH_REAL,
        SEVERAL,
        Sized(smoke=[shaped(4, 1)], paper=SOME_NOISY),
        thresholds=HOLDS,
        expected_failures=KNOWN,
        protocol=MANY,
    ),
    Matrix(
        [DIGITS_LR], [PoisonFrogs(16)], [*UNDEFENDED, shaped(0.1)], thresholds=CHEAP, protocol=MANY_FEW, scales=SMOKE
    ),
    Matrix(
        [DIGITS_MLP],
        [PoisonFrogs(4)],
        [*UNDEFENDED, shaped(0.1)],
        thresholds=CHEAP,
        protocol=MultiPoison(Targets(4), retraining(4)),
        scales=SMOKE,
    ),
    Matrix(
        [STAND_IN_MLP, REAL_MLP],
        [PoisonFrogs(4)],
        [*UNDEFENDED, shaped(4), shaped(4, 1)],
        thresholds=[],
        protocol=MultiPoison(Targets(10, (3, 4)), retraining(50)),
        scales=PAPER,
    ),
)
def test_several_poisons(outcome: CaseOutcome) -> None:
    outcome.check()


# Table 3: C = 4, sigma = 0.01. The fourth combination and the undefended one are cases of other tests, at paper scale
# with both trainings by the defended recipe, too.
MIXED = [(By.VANILLA, By.DEFENDED), (By.DEFENDED, By.VANILLA)]
BOTH = (By.DEFENDED, By.DEFENDED)


@benchmark_cases(
    *(
        Matrix(
            WITH_REAL,
            attacks,
            [shaped(4, 0.01)],
            thresholds=[],
            protocol=Sized(
                smoke=replace(smoke, start=retraining(8, *by)), paper=replace(paper, start=retraining(50, *by))
            ),
            scales=SMOKE if by == BOTH else [*SMOKE, *PAPER],
        )
        for attacks, smoke, paper in (([PoisonFrogs(4)], ONE_FEW, ONE_NEAREST), (SEVERAL, MANY_FEW, MANY_PAIR))
        for by in (*MIXED, BOTH)
    ),
)
def test_who_is_trained_by_which_recipe(outcome: CaseOutcome) -> None:
    outcome.check()


def following(ratio: float) -> Defense:
    """Noise that follows the mean norm of the epoch before, as section 7.2 suggests."""
    return GradientShaping(Clip(4) | AdaptiveNoise(ratio), rate=2)


@benchmark_cases(
    Matrix(
        WITH_REAL,
        SEVERAL,
        Sized(smoke=[shaped(4, 0.4), following(0.4)], paper=[following(ratio) for ratio in (0.1, 1)]),
        thresholds=[],
        protocol=MANY,
    ),
)
def test_noise_that_follows_the_gradients(outcome: CaseOutcome) -> None:
    outcome.check()
