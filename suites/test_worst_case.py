"""An attacker who may choose among all attacks of one budget: a defence is as good as what it does against the worst.

The single attacks are those of suites/test_two_classes.py, whose jobs these cases share.
"""

from gradshape_bench import CaseOutcome, ExpectedFailure, Matrix, Sized, WorstCase, WorstOf, benchmark_cases
from suites.defenses import CLASSIFIED, CONTROLS, MEASURED, NOTHING, SANITIZERS, SHAPING
from suites.tasks import DIGITS_38
from suites.test_two_classes import FRACTIONS, binary

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
    )
)
def test_worst_case(outcome: CaseOutcome) -> None:
    outcome.check()
