"""Poison for single targets, one row or several, while a trained model is trained further.

The paper's Fig. 5 (one-shot attacks over clipping norms and noise), Fig. 6 (several poisons), Table 3 (who is trained
and re-trained by which recipe) and Fig. 7 (gradients while a model is re-trained); its section 7.2 (noise that follows
the gradients); and what the field uses against collisions, filters in feature space, against all attacks of this kind.

Every success rate stands beside its control: as many re-trainings with the clean rows that the poison was made from.
"""

from collections.abc import Sequence
from dataclasses import replace

from gradshape.attacks import (
    Attack,
    BullseyePolytope,
    ConvexPolytope,
    Nudge,
    PoisonFrogs,
    StingRay,
    SwitchOn,
)
from gradshape.defenses import DeepKNN, Defense, GradientShaping, NoDefense, SpectralSignatures, TargetedRONI
from gradshape.shaping import AdaptiveNoise, Clip, Noise
from gradshape.training import SGD, Adam, Recipe
from gradshape_bench.case import ExpectedFailure, Scale, Smoke, Task
from gradshape_bench.matrix import Expect, Matrix, benchmark_cases
from gradshape_bench.protocols import PAPERS_START, By, MultiPoison, OneShot, OneShotGradients, Retrained
from gradshape_bench.session import CaseOutcome
from gradshape_bench.targets import Targets
from gradshape_bench.verdict import Threshold
from suites.tasks import FASHION_MLP, PICTURES_CNN, RECORDS_LR, RECORDS_MLP

SMOKE, PAPER = [Scale.SMOKE], [Scale.PAPER]
NORMS = (8, 4, 2, 1, 0.1)
STDS = (0.001, 0.01, 0.1, 0.4, 0.8, 1, 2, 4)


def shaped(norm: float, std: float = 0) -> Defense:
    """The paper's DP optimizers, which have twice the undefended learning rate."""
    return GradientShaping(Clip(norm) | Noise(std) if std else Clip(norm), rate=2)


# The recipes are those of the released code; Location-30 has the form of Purchase-100 and is trained like it.
DIGITS_LR = Task("digits", Recipe("lr", Adam(0.01), batch_size=50, epochs=40), Smoke(epochs=10))
DIGITS_MLP = Task("digits", Recipe("mlp", Adam(0.002), batch_size=50, epochs=40), Smoke(epochs=5))
DIGITS_PAIR = Task("digits_38", Recipe("mlp", Adam(0.002), batch_size=32, epochs=40), Smoke(epochs=10))
STAND_IN = Task("purchase_synthetic", RECORDS_LR, Smoke(train_rows=4000, epochs=5))
STAND_IN_MLP = Task("purchase_synthetic", RECORDS_MLP)
REAL = Task("purchase100", RECORDS_LR)
REAL_MLP = Task("purchase100", RECORDS_MLP)
PLACES = Task("location30", RECORDS_LR, Smoke(epochs=10))
FASHION = Task(
    "fashion_mnist",
    FASHION_MLP,
    Smoke(train_rows=2000, test_rows=1000, epochs=10),
)
CIFAR = Task(
    "cifar10",
    PICTURES_CNN,
    Smoke(train_rows=500, test_rows=500, epochs=5),
)
# What two processors finish within minutes: a few of the epochs.
CIFAR_BRIEF = Task("cifar10", Recipe("cnn", SGD(0.02), batch_size=100, epochs=5), variant="brief")


def retraining(epochs: int, base: By = By.DEFENDED, again: By = By.DEFENDED) -> Retrained:
    """The paper's re-training: the optimizer goes on where it was."""
    return replace(PAPERS_START, epochs=epochs, base=base, again=again)


# Of each seed, so that there are at least 24 targets in all.
FEW = Targets(8)
ONE_FEW = OneShot(FEW, retraining(8))
ONE_FEWER = OneShot(Targets(4), retraining(4))
ONE_COLOURED_FEW = OneShot(Targets(2), retraining(2))
MANY_FEW = MultiPoison(FEW, retraining(8))
MANY_FEWER = MultiPoison(Targets(4), retraining(4))
# The paper's pair of classes and its number of targets, all of which have poison within the distance if it exists.
ONE_PAIR = OneShot(Targets(100, (3, 4)), retraining(50))
# What takes hours with 100 targets has as many as two processors manage in minutes. Where no pair is given, the nearest
# wrong class is wanted of a target, which is easier than the paper's pair.
ONE_NEAREST = OneShot(Targets(24), retraining(50))
MANY_PAIR = MultiPoison(Targets(20, (3, 4)), retraining(50))
MANY_PAIR_MLP = MultiPoison(Targets(10, (3, 4)), retraining(50))
ONE_PICTURE = OneShot(Targets(20), retraining(20))
ONE_COLOURED = OneShot(Targets(20), retraining(20))
ONE_COLOURED_BRIEF = OneShot(Targets(6), retraining(1))

# An attack that does nothing to the undefended model says nothing of a defence.
WORKS = [Threshold("success_rate", ">", 0.3)]
# The paper's "by half": about half of what is reached without a defence; and its bound on what a defence may cost.
HOLDS = [Threshold("success_rate", "<", 0.25), Threshold("utility_loss", "<", 0.10)]

UNDEFENDED: list[Defense] = [NoDefense()]
CLIPPED = [shaped(norm) for norm in NORMS]
NOISY = [shaped(4, std) for std in STDS]
SOME_NOISY = [shaped(4, std) for std in (0.01, 0.1, 1)]
SOME_SHAPED = [shaped(1), shaped(0.1), shaped(4, 0.1), shaped(4, 1)]


def matrices(
    task: Task, attacks: Sequence[Attack], defenses: Sequence[Defense], protocol: OneShot | MultiPoison, scale: Scale
) -> list[Matrix]:
    """The attack has to work where nobody defends, and the defences have to hold."""
    return [
        Matrix([task], attacks, UNDEFENDED, WORKS, expected_failures=ONE_EXPECTED, protocol=protocol, scales=[scale]),
        Matrix([task], attacks, defenses, HOLDS, expected_failures=ONE_EXPECTED, protocol=protocol, scales=[scale]),
    ]


UNMOVED = ExpectedFailure(
    "one row whose logits collide with the target's turns logistic regression on these sets whatever is done to its "
    "gradient: Adam cancels the common scale that clipping leaves. On the stand-in for Purchase-100 noise up to a "
    "standard deviation of 1 leaves all of the attack's success, beside half of it for clean rows in the poison's "
    "place, and costs 0.16 of the accuracy; on Location-30 noise from 0.4 on leaves little more than clean rows flip "
    "there, so that what is counted is the noise's doing",
    "measured here, beside controls; Hong et al. 2020, section 6.3, have 0.09 at C = 0.1 on Purchase-100",
)
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
ONE_EXPECTED = [
    Expect(UNMOVED, tasks=[STAND_IN, PLACES], attacks=[PoisonFrogs(4)], defenses=[*SOME_SHAPED, *CLIPPED, *NOISY]),
    Expect(DRIFTING, tasks=[STAND_IN], attacks=[PoisonFrogs(100)], defenses=UNDEFENDED, scales=PAPER),
    Expect(LONELY, tasks=[FASHION], attacks=[PoisonFrogs(1)], defenses=UNDEFENDED, scales=PAPER),
]
SEVERAL_EXPECTED = [
    Expect(UNMOVED, tasks=[STAND_IN], attacks=[PoisonFrogs(16)], defenses=[shaped(4, 1)], scales=SMOKE),
    Expect(UNMOVED, tasks=[STAND_IN], attacks=[PoisonFrogs(12)], defenses=SOME_NOISY, scales=PAPER),
]
CHEAP = [Threshold("utility_loss", "<", 0.10)]


@benchmark_cases(
    # Digits are told apart too well for one poison: of these the board shows what little is won, and asserts nothing.
    Matrix(
        [DIGITS_LR],
        [PoisonFrogs(4)],
        [*UNDEFENDED, *SOME_SHAPED],
        CHEAP,
        protocol=ONE_FEW,
        scales=SMOKE,
    ),
    Matrix(
        [DIGITS_MLP],
        [PoisonFrogs(2)],
        [*UNDEFENDED, shaped(0.1), shaped(4, 1)],
        CHEAP,
        protocol=ONE_FEWER,
        scales=SMOKE,
    ),
    *matrices(STAND_IN, [PoisonFrogs(4)], SOME_SHAPED, ONE_FEW, Scale.SMOKE),
    *matrices(PLACES, [PoisonFrogs(4)], SOME_SHAPED, ONE_FEW, Scale.SMOKE),
    Matrix(
        [FASHION],
        [PoisonFrogs(1)],
        [*UNDEFENDED, shaped(1)],
        [],
        protocol=ONE_FEWER,
        scales=SMOKE,
    ),
    Matrix(
        [CIFAR],
        [PoisonFrogs(1)],
        [*UNDEFENDED, shaped(0.1)],
        [],
        protocol=ONE_COLOURED_FEW,
        scales=SMOKE,
    ),
    # The paper's 100 candidates for every target of its pair, without a defence; some of them for what is compared.
    Matrix(
        [STAND_IN, REAL],
        [PoisonFrogs(100)],
        UNDEFENDED,
        WORKS,
        expected_failures=ONE_EXPECTED,
        protocol=ONE_PAIR,
        scales=PAPER,
    ),
    *matrices(STAND_IN, [PoisonFrogs(4)], [*CLIPPED, *NOISY], ONE_NEAREST, Scale.PAPER),
    *matrices(REAL, [PoisonFrogs(10)], [*CLIPPED, *NOISY], ONE_PAIR, Scale.PAPER),
    *matrices(PLACES, [PoisonFrogs(4)], [*CLIPPED, *NOISY], ONE_NEAREST, Scale.PAPER),
    *matrices(FASHION, [PoisonFrogs(1)], [shaped(1)], ONE_PICTURE, Scale.PAPER),
    *matrices(CIFAR, [PoisonFrogs(1)], [shaped(0.1), shaped(4, 0.4)], ONE_COLOURED, Scale.PAPER),
    Matrix(
        [CIFAR_BRIEF],
        [PoisonFrogs(1)],
        [*UNDEFENDED, shaped(0.1)],
        [],
        protocol=ONE_COLOURED_BRIEF,
        scales=PAPER,
    ),
)
def test_one_shot(outcome: CaseOutcome) -> None:
    outcome.check()


# The paper's section 6.4: clipping makes the attacker use more poison, and does not stop it; noise does.
MORE = [Threshold("success_rate", ">", 0.8), Threshold("utility_loss", "<", 0.10)]


@benchmark_cases(
    Matrix(
        [STAND_IN],
        [PoisonFrogs(16)],
        [*UNDEFENDED, shaped(1), shaped(0.1)],
        MORE,
        expected_failures=SEVERAL_EXPECTED,
        protocol=MANY_FEW,
        scales=SMOKE,
    ),
    Matrix(
        [STAND_IN],
        [PoisonFrogs(16)],
        [shaped(4, 1)],
        HOLDS,
        expected_failures=SEVERAL_EXPECTED,
        protocol=MANY_FEW,
        scales=SMOKE,
    ),
    Matrix(
        [DIGITS_LR],
        [PoisonFrogs(16)],
        [*UNDEFENDED, shaped(0.1)],
        CHEAP,
        protocol=MANY_FEW,
        scales=SMOKE,
    ),
    Matrix(
        [DIGITS_MLP],
        [PoisonFrogs(4)],
        [*UNDEFENDED, shaped(0.1)],
        CHEAP,
        protocol=MANY_FEWER,
        scales=SMOKE,
    ),
    Matrix(
        [STAND_IN, REAL],
        [PoisonFrogs(12)],
        [*UNDEFENDED, *CLIPPED],
        MORE,
        expected_failures=SEVERAL_EXPECTED,
        protocol=MANY_PAIR,
        scales=PAPER,
    ),
    Matrix(
        [STAND_IN, REAL],
        [PoisonFrogs(12)],
        SOME_NOISY,
        HOLDS,
        expected_failures=SEVERAL_EXPECTED,
        protocol=MANY_PAIR,
        scales=PAPER,
    ),
    Matrix(
        [STAND_IN_MLP, REAL_MLP],
        [PoisonFrogs(4)],
        [*UNDEFENDED, shaped(4), shaped(4, 1)],
        [],
        protocol=MANY_PAIR_MLP,
        scales=PAPER,
    ),
)
def test_several_poisons(outcome: CaseOutcome) -> None:
    outcome.check()


# Table 3: C = 4, sigma = 0.01. The fourth combination and the undefended one are cases of the two tests above.
MIXED = [(By.VANILLA, By.DEFENDED), (By.DEFENDED, By.VANILLA), (By.DEFENDED, By.DEFENDED)]


@benchmark_cases(
    *(
        Matrix(
            [STAND_IN],
            [PoisonFrogs(4)],
            [shaped(4, 0.01)],
            [],
            protocol=replace(ONE_FEW, start=retraining(8, *by)),
            scales=SMOKE,
        )
        for by in MIXED
    ),
    *(
        Matrix(
            [STAND_IN],
            [PoisonFrogs(16)],
            [shaped(4, 0.01)],
            [],
            protocol=replace(MANY_FEW, start=retraining(8, *by)),
            scales=SMOKE,
        )
        for by in MIXED
    ),
    *(
        Matrix(
            [STAND_IN, REAL],
            [PoisonFrogs(4)],
            [shaped(4, 0.01)],
            [],
            protocol=replace(ONE_NEAREST, start=retraining(50, *by)),
            scales=PAPER,
        )
        for by in MIXED[:2]
    ),
    *(
        Matrix(
            [STAND_IN, REAL],
            [PoisonFrogs(12)],
            [shaped(4, 0.01)],
            [],
            protocol=replace(MANY_PAIR, start=retraining(50, *by)),
            scales=PAPER,
        )
        for by in MIXED[:2]
    ),
)
def test_who_is_trained_by_which_recipe(outcome: CaseOutcome) -> None:
    outcome.check()


# Fig. 7, on few targets: trainings whose gradients are measured are no stack.
ROWS_APART = [UNDEFENDED[0], shaped(4, 0.1)]


@benchmark_cases(
    Matrix(
        [STAND_IN],
        [PoisonFrogs(1)],
        ROWS_APART,
        [],
        protocol=OneShotGradients(Targets(1), retraining(3)),
        scales=SMOKE,
    ),
    Matrix(
        [STAND_IN, REAL],
        [PoisonFrogs(1)],
        ROWS_APART,
        [],
        protocol=OneShotGradients(Targets(5, (3, 4)), retraining(50)),
        scales=PAPER,
    ),
)
def test_gradients_of_one_poison(outcome: CaseOutcome) -> None:
    outcome.check()


def following(ratio: float) -> Defense:
    """Noise that follows the mean norm of the epoch before, as section 7.2 suggests."""
    return GradientShaping(Clip(4) | AdaptiveNoise(ratio), rate=2)


@benchmark_cases(
    Matrix(
        [STAND_IN],
        [PoisonFrogs(16)],
        [shaped(4, 0.4), following(0.4)],
        [],
        protocol=MANY_FEW,
        scales=SMOKE,
    ),
    Matrix(
        [STAND_IN, REAL],
        [PoisonFrogs(12)],
        [following(ratio) for ratio in (0.1, 1)],
        [],
        protocol=MANY_PAIR,
        scales=PAPER,
    ),
)
def test_noise_that_follows_the_gradients(outcome: CaseOutcome) -> None:
    outcome.check()


# Few re-trainings: whoever filters has to be asked for each, and no two of them share their rows.
FILTERED = OneShot(Targets(2), retraining(4))
FILTERED_SET = MultiPoison(Targets(2), retraining(4), at_once=2)
FILTERS: list[Defense] = [DeepKNN(), SpectralSignatures()]
# It tries every row beside small models, whose cost grows fast with their classes: minutes for each re-training on ten.
SLOW_FILTERS: list[Defense] = [TargetedRONI()]
SUBSTITUTES = (
    Recipe("mlp1", Adam(0.002), batch_size=50, epochs=5),
    Recipe("mlp", Adam(0.003), batch_size=50, epochs=5),
)
INSERTED = StingRay(4, Nudge())


@benchmark_cases(
    Matrix(
        [DIGITS_MLP],
        [PoisonFrogs(3)],
        [*UNDEFENDED, shaped(0.1), *FILTERS],
        [],
        protocol=FILTERED,
        scales=SMOKE,
    ),
    Matrix(
        [DIGITS_PAIR],
        [PoisonFrogs(3)],
        [*UNDEFENDED, shaped(0.1), *FILTERS, *SLOW_FILTERS],
        [],
        protocol=FILTERED,
        scales=SMOKE,
    ),
    Matrix(
        [DIGITS_MLP],
        [PoisonFrogs(2)],
        [*UNDEFENDED, shaped(0.1), *FILTERS, *SLOW_FILTERS],
        [],
        protocol=FILTERED,
        scales=PAPER,
    ),
    Matrix(
        [DIGITS_MLP],
        [
            INSERTED,
            ConvexPolytope(5, substitutes=SUBSTITUTES, steps=200),
            BullseyePolytope(5, substitutes=SUBSTITUTES, steps=200),
        ],
        [*UNDEFENDED, shaped(0.1), FILTERS[0]],
        [],
        protocol=FILTERED_SET,
        scales=SMOKE,
    ),
    Matrix(
        [PLACES],
        [StingRay(16, SwitchOn())],
        [*UNDEFENDED, shaped(0.1)],
        [],
        protocol=MANY_FEW,
        scales=SMOKE,
    ),
    Matrix(
        [PLACES],
        [StingRay(50, SwitchOn())],
        [*UNDEFENDED, shaped(0.1)],
        [],
        protocol=MultiPoison(Targets(20), retraining(50)),
        scales=PAPER,
    ),
)
def test_filters_and_other_attacks(outcome: CaseOutcome) -> None:
    outcome.check()
