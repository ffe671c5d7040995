"""Every attack that applies to a task against every defence that does.

The rows of the paper's Table 1 against those of its Table 2, with two controls that bound every filter: one that knows
the poison, and one that removes as many rows at random.
"""

import math
from collections.abc import Sequence

from gradshape.attacks import (
    Attack,
    BackGradient,
    BadNetsPatch,
    DataDependentSteinhardt,
    DictionaryAttack,
    DPVictim,
    FocusedAttack,
    KohInfluence,
    KohKkt,
    KohMinMax,
    LabelContamination,
    LabelFlip,
    OptP,
    SeverPairs,
    StatP,
    Steinhardt,
    SvmAscent,
    Watermark,
)
from gradshape.defenses import (
    RONI,
    TRIM,
    Defense,
    GradientShaping,
    LossFilter,
    NearestNeighborFilter,
    NoDefense,
    OracleSphereSlabFilter,
    PerfectFilter,
    RandomFilter,
    Sever,
    SlabFilter,
    SphereFilter,
    SphereSlabFilter,
    SVDFilter,
    TargetedRONI,
)
from gradshape.learners.private import ObjectivePerturbation
from gradshape.shaping import Clip, Noise
from gradshape.training import Fit
from gradshape_bench.case import ExpectedFailure, Scale, Smoke, Task
from gradshape_bench.matrix import Expect, Matrix, Sized, benchmark_cases
from gradshape_bench.protocols import Targeted
from gradshape_bench.session import CaseOutcome
from gradshape_bench.verdict import Threshold
from suites.tasks import DIGITS, DIGITS_38, FASHION_34, RECORDS_LR, SMALL_LR

SMOKE, PAPER = [Scale.SMOKE], [Scale.PAPER]

# Some dozen test rows at smoke scale tell no drop of 0.05 from one of 0.08.
CLASSIFIED = Sized(
    smoke=[Threshold("rad", "<", 0.10), Threshold("utility_loss", "<", 0.10)],
    paper=[Threshold("rad", "<", 0.05), Threshold("utility_loss", "<", 0.10)],
)
REGRESSED = [Threshold("mse_ratio", "<", 1.5), Threshold("mse_ratio_utility", "<", 1.5)]
HIT = [Threshold("success_rate", "<", 0.5), Threshold("utility_loss", "<", 0.10)]

NOTHING: list[Defense] = [NoDefense()]
CONTROLS: list[Defense] = [PerfectFilter(), RandomFilter()]
SHAPING: list[Defense] = [GradientShaping(Clip(4)), GradientShaping(Clip(1) | Noise(0.1))]
# Removal by distance and by loss: any number of classes, no clean row needed (but for the oracle), any budget.
SANITIZERS: list[Defense] = [
    SphereFilter(),
    SlabFilter(),
    SphereSlabFilter(),
    OracleSphereSlabFilter(),
    LossFilter(),
    SVDFilter(),
    NearestNeighborFilter(),
]
FILTERS = [*SANITIZERS, Sever(), RONI()]


def binary(fraction: float, *, steps: int = 1000) -> list[Attack]:
    """The attacks on two classes that no other suite has; ``steps`` are those of the oracle game."""
    return [
        LabelFlip(fraction, feasible_quantile=0.9),
        Watermark(1.0, fraction),
        SvmAscent(fraction),
        LabelContamination(fraction),
        Steinhardt(fraction, steps=steps),
        Steinhardt(fraction, steps=steps, clip_afterwards=True),
        KohInfluence(fraction),
        KohKkt(fraction),
        KohMinMax(fraction),
        BackGradient(fraction),
        DPVictim(fraction),
    ]


BINARY: Sized[Sequence[Attack]] = Sized(
    smoke=binary(0.2, steps=300), paper=[attack for fraction in (0.1, 0.2, 0.4) for attack in binary(fraction)]
)
# Random flips of the same budget under the same constraints, which those attacks have to exceed: free ones, and those
# inside the sets of the oracle attack. Those inside Koh's sets are among the attacks, and free ones against logistic
# regression on DIGITS_38 and FASHION_34 are in suites/test_indiscriminate.py, all but 20 % at smoke scale.
FREE_FLIPS: list[Attack] = [LabelFlip(0.2)]
ORACLE_FLIPS: Sized[Sequence[Attack]] = Sized(
    smoke=[LabelFlip(0.2, feasible_quantile=0.7)],
    paper=[LabelFlip(fraction, feasible_quantile=0.7) for fraction in (0.1, 0.2, 0.4)],
)
ALL_FREE_FLIPS: Sized[Sequence[Attack]] = Sized(
    smoke=FREE_FLIPS, paper=[LabelFlip(fraction) for fraction in (0.1, 0.2, 0.4)]
)
# 40 % are among SHAPED_ELSEWHERE.
FEWER_FREE_FLIPS: Sized[Sequence[Attack]] = Sized(smoke=FREE_FLIPS, paper=[LabelFlip(0.1), LabelFlip(0.2)])
# The oracle game in the sets of Koh's attacks and in a ball that does not hold a learner of digits.
WIDE_BALL: Sized[Sequence[Attack]] = Sized(
    smoke=[Steinhardt(0.2, quantile=0.9, rho=math.sqrt(8), steps=300)],
    paper=[Steinhardt(fraction, quantile=0.9, rho=math.sqrt(8)) for fraction in (0.1, 0.2, 0.4)],
)
# How they fare against nothing and against clipping is in suites/test_indiscriminate.py.
# At smoke scale a search of seconds, which does about as much to these tasks as one of a minute.
SHAPED_ELSEWHERE: Sized[Sequence[Attack]] = Sized(
    smoke=[LabelFlip(0.4), DataDependentSteinhardt(0.4, steps=24, splits=6, rungs=(0.2,))],
    paper=[LabelFlip(0.4), DataDependentSteinhardt(0.4)],
)
# Crafted in seconds on a few hundred features.
QUICK: list[Attack] = [Watermark(1.0, 0.2), SvmAscent(0.2), LabelContamination(0.2, steps=10)]
OVERLAY, BADNETS = Watermark(1.0, 0.01), BadNetsPatch(3, 0.05)
BRIEF, WHOLE = BackGradient(0.1, points=2, steps=8), BackGradient(0.1)
PICTURES: Sized[Sequence[Attack]] = Sized(smoke=[OVERLAY, BADNETS, BRIEF], paper=[OVERLAY, BADNETS, WHOLE])
RECORDS: Sized[Sequence[Attack]] = Sized(smoke=[LabelFlip(0.2), OVERLAY, BRIEF], paper=[LabelFlip(0.2), OVERLAY, WHOLE])
REGRESSION = [OptP(0.2), StatP(0.2), SeverPairs(0.2)]

DIGITS_38_SVM = Task("digits_38", Fit("svm_linear"))
DIGITS_38_PRIVATE = Task("digits_38", Fit("dp_logistic_objective", epsilon=10.0))
LOCATION_PAIR = Task("location30_01", SMALL_LR, Smoke(epochs=20))
LOCATION = Task("location30", RECORDS_LR, Smoke(epochs=6))
CONTINUOUS = [Task(dataset, Fit(model)) for dataset in ("diabetes", "nuclei_area") for model in ("ridge", "lasso")]
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
PRIVATE = ObjectivePerturbation(epsilon=10.0)


# What was seen to fail at smoke scale, or to come within one test row of it, and why. Chance is no defence.
UNDEFENDED = ["vanilla", "random_filter"]
FIVE_PERCENT = ["sphere_5", "slab_5", "loss_5", "svd_5", "knn_5"]
LR, SVM, PRIVATE_LR = "digits_38-lr", "digits_38-svm_linear", "digits_38-dp_logistic_objective"
MEASURED = "this suite, smoke scale"

WORKS = ExpectedFailure("the attack was made for such a model, and nothing or chance stands in its way", MEASURED)
LINE = ExpectedFailure(
    "poison that moves the boundary of a linear model is no gradient outlier once the model has moved", MEASURED
)
FEW = ExpectedFailure(
    "the filter removes 5 % of every class, and there is four to eight times as much poison, in the thick of a class",
    "Koh, Steinhardt and Liang 2018, Stronger data poisoning attacks break data sanitization defenses; " + MEASURED,
)
DRAGS = ExpectedFailure(
    "the poison drags the centroids along from which the filter measures, so that it keeps poison and drops clean rows",
    "Steinhardt, Koh and Liang 2017, section 4.2; " + MEASURED,
)
FITTED = ExpectedFailure(
    "the model fits the poison well, so its gradients are small, and those of the clean rows are the outliers",
    "Hong et al. 2020, section 7.1; " + MEASURED,
)
GREEDY = ExpectedFailure("a quantile of 0.7 takes 30 % and more of some 130 rows a class, poisoned or not", MEASURED)
SCARCE = ExpectedFailure("with some 130 records a class and 446 features every flipped label counts", MEASURED)
LOCAL = ExpectedFailure(
    "alternating fits end in a local minimum that keeps the two tight heaps of poison; smaller first sets escape it",
    MEASURED,
)
CORNERED = ExpectedFailure(
    "the poison of one corner is a spectral outlier only until the fit has turned to it", MEASURED
)
INSIDE = ExpectedFailure(
    "the rows lie inside the sets that a filter keeps, and long messages make these wide",
    "Koh, Steinhardt and Liang 2018: 3 % to 24 % test error on Enron with 3 % of poison; " + MEASURED,
)
ALL_WORDS = ExpectedFailure(
    "a message that holds every word sways a token filter, but hardly the softmax regression that RONI tries rows on",
    "Nelson et al. 2008 try them on the filter itself; " + MEASURED,
)

BINARY_FAILURES = [
    Expect(WORKS, attacks=["back_gradient_20", "dpv_eps10_label_aversion_20", "sota_40"], defenses=UNDEFENDED),
    Expect(
        WORKS,
        tasks=[SVM],
        attacks=["label_contamination_20", "svm_ascent_20", "dpv_eps1_label_aversion_20"],
        defenses=UNDEFENDED,
    ),
    Expect(WORKS, tasks=[PRIVATE_LR], attacks=["label_contamination_20"], defenses=UNDEFENDED),
    Expect(WORKS, tasks=[LR], attacks=["dpv_eps1_label_aversion_20"], defenses=["random_filter"]),
    Expect(LINE, tasks=[LR], attacks=["back_gradient_20"], defenses=["dp_adam_c4"]),
    Expect(FEW, tasks=[LR], attacks=["back_gradient_20"], defenses=["loss_5", "svd_5", "knn_5"]),
    Expect(FEW, tasks=[SVM], attacks=["back_gradient_20"], defenses=FIVE_PERCENT),
    Expect(FEW, tasks=[SVM], attacks=["dpv_eps1_label_aversion_20"], defenses=["svd_5"]),
    Expect(
        FEW,
        tasks=[SVM],
        attacks=["label_contamination_20", "svm_ascent_20"],
        defenses=["sphere_5", "loss_5", "svd_5", "knn_5"],
    ),
    Expect(FEW, tasks=[SVM], attacks=["koh_influence_20"], defenses=["loss_5"]),
    Expect(FEW, tasks=[SVM, LR, "fashion_mnist_34-lr"], attacks=["sota_40"], defenses=FIVE_PERCENT),
    Expect(DRAGS, attacks=["sota_40"], defenses=["sphere_slab_q70"]),
    Expect(FITTED, attacks=["back_gradient_20", "sota_40"], defenses=["sever"]),
    Expect(FITTED, tasks=[SVM], attacks=["dpv_eps1_label_aversion_20"], defenses=["sever"]),
]
RECORDS_FAILURES = [
    Expect(GREEDY, tasks=["location30-lr"], defenses=["sphere_slab_q70", "oracle_sphere_slab_q70"]),
    Expect(
        SCARCE,
        attacks=["label_flip_20"],
        defenses=[*UNDEFENDED, "dp_adam_c1_s0.1", "sphere_5", "loss_5", "svd_5", "knn_5"],
    ),
]
NUCLEI = ["nuclei_area-ridge", "nuclei_area-lasso"]
REGRESSION_FAILURES = [
    Expect(WORKS, defenses=UNDEFENDED),
    Expect(LOCAL, tasks=NUCLEI, attacks=["sever_pairs_20"], defenses=["trim"]),
    Expect(LOCAL, tasks=["nuclei_area-lasso"], attacks=["statp_20"], defenses=["trim"]),
    Expect(CORNERED, tasks=NUCLEI, attacks=["optp_20", "sever_pairs_20"], defenses=["sever"]),
    Expect(CORNERED, tasks=["nuclei_area-lasso"], attacks=["statp_20"], defenses=["sever"]),
]
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
        [DIGITS_38], BINARY, [*NOTHING, *SHAPING, *FILTERS, *CONTROLS], CLASSIFIED, expected_failures=BINARY_FAILURES
    ),
    Matrix([DIGITS_38], SHAPED_ELSEWHERE, [*FILTERS, *CONTROLS], CLASSIFIED, expected_failures=BINARY_FAILURES),
    Matrix([DIGITS_38_SVM], BINARY, [*NOTHING, *FILTERS, *CONTROLS], CLASSIFIED, expected_failures=BINARY_FAILURES),
    Matrix(
        [DIGITS_38_SVM],
        SHAPED_ELSEWHERE,
        [*NOTHING, *FILTERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
    ),
    Matrix(
        [DIGITS_38_PRIVATE],
        [DPVictim(0.2, PRIVATE), LabelContamination(0.2)],
        [*NOTHING, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
    ),
    Matrix(
        [FASHION_34],
        QUICK,
        [*NOTHING, *SHAPING, *SANITIZERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
        scales=SMOKE,
    ),
    Matrix(
        [FASHION_34],
        SHAPED_ELSEWHERE,
        [*SANITIZERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
        scales=SMOKE,
    ),
    Matrix(
        [FASHION_34],
        BINARY,
        [*NOTHING, *SHAPING, *FILTERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
        scales=PAPER,
    ),
    Matrix(
        [FASHION_34],
        SHAPED_ELSEWHERE,
        [*FILTERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
        scales=PAPER,
    ),
    Matrix(
        [LOCATION_PAIR],
        QUICK,
        [*NOTHING, *SHAPING, *FILTERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
        scales=SMOKE,
    ),
    Matrix(
        [LOCATION_PAIR],
        BINARY,
        [*NOTHING, *SHAPING, *FILTERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=BINARY_FAILURES,
        scales=PAPER,
    ),
    Matrix([DIGITS_38], WIDE_BALL, [*NOTHING, *SHAPING, *FILTERS, *CONTROLS], CLASSIFIED),
    Matrix([DIGITS_38_SVM], WIDE_BALL, [*NOTHING, *FILTERS, *CONTROLS], CLASSIFIED),
    Matrix([DIGITS_38, FASHION_34], FREE_FLIPS, NOTHING, CLASSIFIED, scales=SMOKE),
    Matrix([DIGITS_38, DIGITS_38_SVM], ORACLE_FLIPS, NOTHING, CLASSIFIED),
    Matrix([FASHION_34], ORACLE_FLIPS, NOTHING, CLASSIFIED, scales=PAPER),
    Matrix([DIGITS_38_SVM], FEWER_FREE_FLIPS, NOTHING, CLASSIFIED),
    Matrix([DIGITS_38_PRIVATE], FREE_FLIPS, NOTHING, CLASSIFIED),
    Matrix([LOCATION_PAIR], ALL_FREE_FLIPS, NOTHING, CLASSIFIED),
    Matrix([LOCATION_PAIR], ORACLE_FLIPS, NOTHING, CLASSIFIED, scales=PAPER),
)
def test_two_classes(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix([DIGITS], PICTURES, [*NOTHING, *SHAPING, *SANITIZERS, *CONTROLS], CLASSIFIED),
    Matrix([DIGITS], [LabelFlip(0.4)], [*SANITIZERS, *CONTROLS], CLASSIFIED),
    Matrix(
        [LOCATION],
        RECORDS,
        [*NOTHING, *SHAPING, *SANITIZERS, *CONTROLS],
        CLASSIFIED,
        expected_failures=RECORDS_FAILURES,
    ),
)
def test_many_classes(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix(
        CONTINUOUS,
        REGRESSION,
        [*NOTHING, TRIM(), TRIM(starts=50, first=12), Sever(), *CONTROLS],
        REGRESSED,
        expected_failures=REGRESSION_FAILURES,
    ),
)
def test_regression(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix(
        [MAIL, MAIL_BAYES],
        [DictionaryAttack(0.01)],
        [*NOTHING, RONI(), *CONTROLS],
        CLASSIFIED,
        expected_failures=DICTIONARY_FAILURES,
    ),
    Matrix([MAIL, MAIL_BAYES], [LabelFlip(0.01)], NOTHING, CLASSIFIED),
)
def test_mail(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix(
        [COUNTS], FEW_STRONG_ROWS, [*NOTHING, *SANITIZERS, *CONTROLS], CLASSIFIED, expected_failures=COUNTS_FAILURES
    ),
)
def test_mail_of_counts(outcome: CaseOutcome) -> None:
    outcome.check()


@benchmark_cases(
    Matrix(
        [MAIL, MAIL_BAYES],
        [FocusedAttack(0.03), FocusedAttack(0.03, known=0.3)],
        [*NOTHING, TargetedRONI(), *CONTROLS],
        HIT,
        expected_failures=FOCUSED_FAILURES,
        protocol=Targeted(targets=3),
        scales=SMOKE,
    ),
    Matrix(
        [MAIL, MAIL_BAYES],
        [FocusedAttack(0.03, known=known) for known in (0.1, 0.3, 0.5, 0.9)],
        [*NOTHING, TargetedRONI(), *CONTROLS],
        HIT,
        expected_failures=FOCUSED_FAILURES,
        protocol=Targeted(targets=20),
        scales=PAPER,
    ),
)
def test_focused_mail(outcome: CaseOutcome) -> None:
    outcome.check()
