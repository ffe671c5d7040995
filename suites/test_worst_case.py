"""An attacker who may choose among all attacks of one budget: a defence is as good as what it does against the worst.

The single attacks are those of suites/test_two_classes.py, whose jobs these cases share.
"""

from gradshape_bench import (
    CaseOutcome,
    Expect,
    ExpectedFailure,
    Matrix,
    Scale,
    Sized,
    WorstCase,
    WorstOf,
    benchmark_cases,
)
from suites.defenses import CLASSIFIED, CONTROLS, MEASURED, NOTHING, SANITIZERS, SHAPING, UNDEFENDED
from suites.tasks import DIGITS_38
from suites.test_two_classes import FRACTIONS, binary

GETS_PAST = [*UNDEFENDED, "dp_adam_c4", "loss_5", "svd_5", "knn_5"]
SOME_ATTACK_WORKS = ExpectedFailure("at least one of the attacks gets past it", MEASURED)


@benchmark_cases(
    Matrix(
        tasks=[DIGITS_38],
        attacks=Sized(
            smoke=[WorstOf(tuple(binary(0.2, steps=300)))],
            paper=[WorstOf(tuple(binary(fraction))) for fraction in FRACTIONS],
        ),
        defenses=[*NOTHING, *CONTROLS, *SHAPING, *SANITIZERS],
        thresholds=CLASSIFIED,
        protocol=WorstCase(),
        expected_failures=[Expect(SOME_ATTACK_WORKS, defenses=GETS_PAST, scales=[Scale.SMOKE])],
    )
)
def test_worst_case(outcome: CaseOutcome) -> None:
    outcome.check()
