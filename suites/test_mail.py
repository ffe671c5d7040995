"""Attacks on filters of spam: words for the dictionary, few strong rows, and single messages."""

from gradshape.attacks import Attack, DictionaryAttack, FocusedAttack, KohInfluence, KohKkt, KohMinMax, LabelFlip
from gradshape.defenses import RONI, TargetedRONI
from gradshape.training import Fit
from gradshape_bench import CaseOutcome, Expect, ExpectedFailure, Matrix, Sized, Task, Threshold, benchmark_cases
from gradshape_bench.protocols import Targeted
from suites.defenses import CLASSIFIED, CONTROLS, FIVE_PERCENT, MEASURED, NOTHING, SANITIZERS, UNDEFENDED, WORKS

MAIL = Task("spam_zipf", Fit("spambayes"))
MAIL_BAYES = Task("spam_zipf", Fit("naive_bayes"))
# The SVM that attacks on it take the victim for: its C is 1 over decay times rows.
COUNTS = Task("mail_counts", Fit("svm_linear", c=0.3))
COUNTS_DECAY, COUNTS_LEVELS = 1 / (0.3 * 600), 32
FEW_STRONG_ROWS: list[Attack] = [
    LabelFlip(0.03, feasible_quantile=0.9),
    KohInfluence(0.03, decay=COUNTS_DECAY, levels=COUNTS_LEVELS),
    KohKkt(0.03, decay=COUNTS_DECAY, levels=COUNTS_LEVELS),
    KohMinMax(0.03, decay=COUNTS_DECAY, levels=COUNTS_LEVELS),
]
HIT = [Threshold("success_rate", "<", 0.5), Threshold("utility_loss", "<", 0.10)]

ALL_WORDS = ExpectedFailure(
    "a message that holds every word sways a token filter, but hardly the softmax regression that RONI tries rows on",
    "Nelson et al. 2008 try them on the filter itself; " + MEASURED,
)
INSIDE = ExpectedFailure(
    "the rows lie inside the sets that a filter keeps, and long messages make these wide",
    "Koh, Steinhardt and Liang 2018: 3 % to 24 % test error on Enron with 3 % of poison; " + MEASURED,
)

DICTIONARY_FAILURES = [
    Expect(WORKS, tasks=["spam_zipf-spambayes"], defenses=UNDEFENDED),
    Expect(ALL_WORDS, tasks=["spam_zipf-spambayes"], defenses=["roni"]),
]
COUNTS_FAILURES = [
    Expect(WORKS, attacks=["koh_kkt_3", "koh_min_max_3"], defenses=UNDEFENDED),
    Expect(INSIDE, attacks=["koh_kkt_3", "koh_min_max_3"], defenses=FIVE_PERCENT),
    Expect(INSIDE, attacks=["koh_kkt_3"], defenses=["sphere_slab_q70"]),
]
FOCUSED_FAILURES = [
    Expect(WORKS, attacks=["focused_known90_3"], defenses=UNDEFENDED),
    Expect(WORKS, tasks=["spam_zipf-spambayes"], attacks=["focused_known50_3"], defenses=UNDEFENDED),
]


@benchmark_cases(
    Matrix(
        [MAIL, MAIL_BAYES],
        [DictionaryAttack(0.01)],
        [*NOTHING, RONI(), *CONTROLS],
        thresholds=CLASSIFIED,
        expected_failures=DICTIONARY_FAILURES,
    ),
    Matrix([MAIL, MAIL_BAYES], [LabelFlip(0.01)], NOTHING, thresholds=CLASSIFIED),
)
def test_mail(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix(
        [COUNTS],
        FEW_STRONG_ROWS,
        [*NOTHING, *SANITIZERS, *CONTROLS],
        thresholds=CLASSIFIED,
        expected_failures=COUNTS_FAILURES,
    ),
)
def test_mail_of_counts(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix(
        [MAIL, MAIL_BAYES],
        Sized(
            smoke=[FocusedAttack(0.03), FocusedAttack(0.03, known=0.3)],
            paper=[FocusedAttack(0.03, known=known) for known in (0.1, 0.3, 0.5, 0.9)],
        ),
        [*NOTHING, TargetedRONI(), *CONTROLS],
        thresholds=HIT,
        expected_failures=FOCUSED_FAILURES,
        protocol=Sized(smoke=Targeted(targets=3), paper=Targeted(targets=20)),
    ),
)
def test_focused_mail(outcome: CaseOutcome) -> None:
    outcome.check()
