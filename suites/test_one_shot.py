"""One poison row at a time for single targets, while a trained model is trained further.

The paper's Fig. 5 (one-shot attacks over clipping norms and noise) and Fig. 7 (gradients while a model is re-trained).
"""

from collections.abc import Sequence

from gradshape.attacks import Attack, PoisonFrogs
from gradshape.defenses import Defense
from gradshape.training import SGD, Recipe
from gradshape_bench import (
    CaseOutcome,
    Expect,
    ExpectedFailure,
    Matrix,
    Scale,
    Sized,
    Smoke,
    Task,
    Threshold,
    benchmark_cases,
)
from gradshape_bench.protocols import OneShot, OneShotGradients
from gradshape_bench.targets import Targets
from suites.single_targets import (
    CHEAP,
    CLIPPED,
    DIGITS_LR,
    DIGITS_MLP,
    HOLDS,
    NOISY,
    ONE,
    ONE_FEW,
    PAPER,
    PLACES,
    REAL,
    SMOKE,
    STAND_IN,
    UNDEFENDED,
    UNMOVED,
    WITH_REAL,
    retraining,
    shaped,
)
from suites.tasks import FASHION_MLP, PICTURES_CNN

FASHION = Task("fashion_mnist", FASHION_MLP, Smoke(train_rows=2000, test_rows=1000, epochs=10))
CIFAR = Task("cifar10", PICTURES_CNN, Smoke(train_rows=500, test_rows=500, epochs=5))
# What two processors finish within minutes: a few of the epochs.
CIFAR_BRIEF = Task("cifar10", Recipe("cnn", SGD(0.02), batch_size=100, epochs=5), variant="brief")

FEWER = OneShot(Targets(4), retraining(4))
# The paper's pair of classes and its number of targets, all of which have poison within the distance if it exists.
PAIR = OneShot(Targets(100, (3, 4)), retraining(50))
PICTURE = OneShot(Targets(20), retraining(20))

# An attack that does nothing to the undefended model says nothing of a defence.
WORKS = [Threshold("success_rate", ">", 0.3)]
SOME_SHAPED = [shaped(1), shaped(0.1), shaped(4, 0.1), shaped(4, 1)]
ALL_SHAPED = [*CLIPPED, *NOISY]

DRIFTING = ExpectedFailure(
    "re-trained for 50 epochs, the stand-in's base model loses 0.08 of its accuracy whatever row is added, so that few "
    "of the targets that are won count as won at the allowed drop of 0.05",
    "measured here: 10 of 57 targets whatever the accuracy, 4 of 57 within the drop, none in the control; Hong et al. "
    "2020, section 6.3, have 34 of 73 on Purchase-100",
)
LONELY = ExpectedFailure(
    "one poison row among 60,000, and one candidate a target, turns no target of the network of two hidden layers in "
    "20 epochs of re-training",
    "measured here: 0 of 20; Hong et al. 2020, section 6.3, have 0.01 at C = 1, with 100 candidates a target",
)
KNOWN = [
    Expect(UNMOVED, tasks=[STAND_IN, PLACES], attacks=[PoisonFrogs(4)], defenses=[*SOME_SHAPED, *ALL_SHAPED]),
    Expect(DRIFTING, tasks=[STAND_IN], attacks=[PoisonFrogs(100)], defenses=UNDEFENDED, scales=PAPER),
    Expect(LONELY, tasks=[FASHION], attacks=[PoisonFrogs(1)], defenses=UNDEFENDED, scales=PAPER),
]


def matrices(
    tasks: Sequence[Task],
    attack: Attack,
    defenses: Sequence[Defense] | Sized[Sequence[Defense]],
    protocol: OneShot | Sized[OneShot],
    scales: Sequence[Scale],
) -> list[Matrix]:
    """The attack has to work where nobody defends, and the defences have to hold."""
    return [
        Matrix(
            tasks, [attack], UNDEFENDED, thresholds=WORKS, expected_failures=KNOWN, protocol=protocol, scales=scales
        ),
        Matrix(tasks, [attack], defenses, thresholds=HOLDS, expected_failures=KNOWN, protocol=protocol, scales=scales),
    ]


@benchmark_cases(
    # Digits are told apart too well for one poison: of these the board shows what little is won, and asserts nothing.
    Matrix(
        [DIGITS_LR], [PoisonFrogs(4)], [*UNDEFENDED, *SOME_SHAPED], thresholds=CHEAP, protocol=ONE_FEW, scales=SMOKE
    ),
    Matrix(
        [DIGITS_MLP],
        [PoisonFrogs(2)],
        [*UNDEFENDED, shaped(0.1), shaped(4, 1)],
        thresholds=CHEAP,
        protocol=FEWER,
        scales=SMOKE,
    ),
    *matrices([STAND_IN, PLACES], PoisonFrogs(4), Sized(smoke=SOME_SHAPED, paper=ALL_SHAPED), ONE, [*SMOKE, *PAPER]),
    Matrix([FASHION], [PoisonFrogs(1)], [*UNDEFENDED, shaped(1)], thresholds=[], protocol=FEWER, scales=SMOKE),
    Matrix(
        [CIFAR],
        [PoisonFrogs(1)],
        [*UNDEFENDED, shaped(0.1)],
        thresholds=[],
        protocol=OneShot(Targets(2), retraining(2)),
        scales=SMOKE,
    ),
    # The paper's 100 candidates for every target of its pair, without a defence; some of them for what is compared.
    Matrix(
        [STAND_IN, REAL],
        [PoisonFrogs(100)],
        UNDEFENDED,
        thresholds=WORKS,
        expected_failures=KNOWN,
        protocol=PAIR,
        scales=PAPER,
    ),
    *matrices([REAL], PoisonFrogs(10), ALL_SHAPED, PAIR, PAPER),
    *matrices([FASHION], PoisonFrogs(1), [shaped(1)], PICTURE, PAPER),
    *matrices([CIFAR], PoisonFrogs(1), [shaped(0.1), shaped(4, 0.4)], PICTURE, PAPER),
    Matrix(
        [CIFAR_BRIEF],
        [PoisonFrogs(1)],
        [*UNDEFENDED, shaped(0.1)],
        thresholds=[],
        protocol=OneShot(Targets(6), retraining(1)),
        scales=PAPER,
    ),
)
def test_one_shot(outcome: CaseOutcome) -> None:
    outcome.check()


# Fig. 7, on few targets: trainings whose gradients are measured are no stack.
@benchmark_cases(
    Matrix(
        WITH_REAL,
        [PoisonFrogs(1)],
        [*UNDEFENDED, shaped(4, 0.1)],
        thresholds=[],
        protocol=Sized(
            smoke=OneShotGradients(Targets(1), retraining(3)),
            paper=OneShotGradients(Targets(5, (3, 4)), retraining(50)),
        ),
    ),
)
def test_gradients_of_one_poison(outcome: CaseOutcome) -> None:
    outcome.check()
