"""Combinations that do not apply: what can be told without data, and that nothing else is left out."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import pytest

from gradshape.attacks import (
    Attack,
    BackGradient,
    BadNetsPatch,
    ConvexPolytope,
    LabelFlip,
    OptP,
    PoisonFrogs,
    SvmAscent,
)
from gradshape.defenses import (
    RONI,
    TRIM,
    DeepKNN,
    Defense,
    GradientShaping,
    NoDefense,
    Sever,
    SpectralSignatures,
    SphereFilter,
    SphereSlabFilter,
    TargetedRONI,
)
from gradshape.shaping import Clip
from gradshape.training import Adam, Fit, Recipe
from gradshape_bench import Matrix, Scale, Sized, Task, benchmark_cases
from gradshape_bench.left_out import LeftOut, describe
from gradshape_bench.matrix import all_left_out
from gradshape_bench.protocols import (
    Backdoor,
    Clusters,
    DecisionBoundary,
    FromScratch,
    GradientDifferences,
    MultiPoison,
    OneShot,
    Protocol,
    Retrain,
    Retrained,
    WorstOf,
)
from gradshape_bench.targets import Targets

LR = Recipe("lr", Adam(0.1), batch_size=32, epochs=1)
MOONS, DIGITS, SVM = Task("two_moons", LR), Task("digits", LR), Task("two_moons", Fit("svm_linear"))
DIABETES = Task("diabetes", Fit("ridge"))
FLIP, NONE, CLIP = LabelFlip(0.1), NoDefense(), GradientShaping(Clip(1))
FROM_SCRATCH = FromScratch()
SUBSTITUTES = (Recipe("mlp", Adam(0.1), batch_size=32, epochs=1),)


def matrix(
    tasks: Sequence[Task], attacks: Sequence[Attack], defenses: Sequence[Defense], protocol: Protocol = FROM_SCRATCH
) -> Matrix:
    return Matrix(tasks, attacks, defenses, thresholds=[], protocol=protocol)


@pytest.mark.parametrize(
    ("task", "attack", "defense", "protocol", "reason"),
    [
        (SVM, FLIP, CLIP, FromScratch(), "svm_linear is not trained by gradient steps"),
        (SVM, FLIP, DeepKNN(), FromScratch(), "it looks at the features of a network, and svm_linear is none"),
        (SVM, FLIP, SpectralSignatures(), FromScratch(), "it looks at the features of a network"),
        (MOONS, FLIP, TRIM(), FromScratch(), "it defends regressions"),
        (DIABETES, OptP(0.1), SphereFilter(), FromScratch(), "it goes by class"),
        (DIABETES, OptP(0.1), SphereSlabFilter(), FromScratch(), "it goes by class"),
        (DIABETES, OptP(0.1), RONI(), FromScratch(), "it trains classifiers"),
        (DIABETES, OptP(0.1), TargetedRONI(), FromScratch(), "it trains classifiers"),
        (Task("diabetes", LR), OptP(0.1), Sever(), FromScratch(), "it trains linear regressions, and lr is none"),
        (DIGITS, FLIP, RONI(base=5), FromScratch(), "it has 10 classes, and base sets of 5 rows"),
        (DIGITS, SvmAscent(0.1), NONE, FromScratch(), "it attacks binary tasks, and this one has 10 classes"),
        (MOONS, OptP(0.1), NONE, FromScratch(), "it attacks regression tasks, and this one has 2 classes"),
        (DIABETES, FLIP, NONE, FromScratch(), "it attacks classifiers, and this is a regression task"),
        (DIGITS, PoisonFrogs(2), NONE, FromScratch(), "aims at single targets, and from_scratch has none"),
        (DIGITS, PoisonFrogs(2), NONE, Retrain(), "aims at single targets, and retrain has none"),
        (DIGITS, PoisonFrogs(2), NONE, Clusters(), "aims at single targets, and clusters has none"),
        (DIGITS, PoisonFrogs(2), NONE, GradientDifferences(), "aims at single targets, and gradients has none"),
        (DIGITS, FLIP, NONE, OneShot(Targets(1)), "does not aim at single targets"),
        (DIGITS, FLIP, NONE, MultiPoison(Targets(1)), "does not aim at single targets"),
        (DIGITS, ConvexPolytope(2, substitutes=SUBSTITUTES), NONE, OneShot(Targets(1)), "its rows work together only"),
        (SVM, PoisonFrogs(2), NONE, OneShot(Targets(1)), "'svm_linear' is fitted by an estimator"),
        (SVM, FLIP, NONE, Retrain(), "'svm_linear' is fitted by an estimator"),
        (SVM, FLIP, NONE, GradientDifferences(), "'svm_linear' is fitted by an estimator"),
        (SVM, FLIP, NONE, DecisionBoundary(), "'svm_linear' is fitted by an estimator"),
        (DIGITS, FLIP, NONE, Backdoor(), "has no trigger"),
        (SVM, BadNetsPatch(1), NONE, Backdoor(Retrained()), "'svm_linear' is fitted by an estimator"),
    ],
)
def test_what_does_not_apply_is_left_out_with_its_reason(
    task: Task, attack: Attack, defense: Defense, protocol: Protocol, reason: str
) -> None:
    declared = matrix([task], [attack], [defense], protocol)
    assert declared.cases(Scale.SMOKE, [0]) == []
    [left_out] = declared.left_out(Scale.SMOKE)
    assert reason in left_out.reason
    assert left_out.name.startswith(f"{task.dataset}-{task.model}-{attack.label}-")


def test_every_combination_is_either_a_case_or_left_out() -> None:
    tasks, attacks = [MOONS, SVM, DIGITS], [FLIP, SvmAscent(0.1), OptP(0.1), BackGradient(0.1)]
    defenses = [NONE, CLIP, DeepKNN(), TRIM()]
    declared = matrix(tasks, attacks, defenses)
    cases = {case.id for case in declared.cases(Scale.SMOKE, [0])}
    left_out = {one.name for one in declared.left_out(Scale.SMOKE)}
    assert not cases & left_out
    assert len(cases | left_out) == len(tasks) * len(attacks) * len(defenses)
    # Two attacks fit ten classes and three two; a network has three defences and the machine one.
    assert len(cases) == 3 * 3 + 3 * 1 + 2 * 3


def test_nothing_is_left_out_where_only_the_data_will_tell() -> None:
    unknown = [Task("mine.npz", LR), Task("no such data", LR)]
    assert len(matrix(unknown, [SvmAscent(0.1), FLIP], [NONE, CLIP]).cases(Scale.SMOKE, [0])) == 8


def test_the_worst_case_is_that_of_the_attacks_that_apply() -> None:
    declared = replace(matrix([MOONS, DIGITS], [FLIP, SvmAscent(0.1), BackGradient(0.1)], [NONE]), worst_case=True)
    worst = [case.attack for case in declared.cases(Scale.SMOKE, [0]) if isinstance(case.attack, WorstOf)]
    assert [len(one.attacks) for one in worst] == [3, 2]


def test_a_single_attack_that_applies_is_no_worst_case() -> None:
    declared = replace(matrix([DIGITS], [FLIP, SvmAscent(0.1)], [NONE]), worst_case=True)
    assert [case.attack for case in declared.cases(Scale.SMOKE, [0])] == [FLIP]


def test_a_matrix_in_which_nothing_applies_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"nothing in a matrix applies at smoke scale: 1 combination .*\n.*svm_linear"):
        benchmark_cases(matrix([SVM], [FLIP], [CLIP]))


def test_it_is_an_error_at_either_scale() -> None:
    declared = Matrix([SVM], [FLIP], Sized(smoke=[NONE], paper=[CLIP]), thresholds=[])
    with pytest.raises(ValueError, match="nothing in a matrix applies at paper scale"):
        benchmark_cases(declared)
    benchmark_cases(replace(declared, scales=[Scale.SMOKE]))


def test_an_empty_matrix_is_none() -> None:
    benchmark_cases(matrix([], [], []))


def test_what_two_matrices_leave_out_alike_is_counted_once() -> None:
    declared = matrix([SVM], [FLIP], [NONE, CLIP])
    assert len(all_left_out([declared, declared], Scale.SMOKE)) == 1


@dataclass(frozen=True)
class Picky:
    """A user's protocol that says what it is not for."""

    label: str = "picky"

    def refuses(self, attack: Attack, recipe: object) -> str | None:
        return "too loud" if attack.budget(100) > 20 else None

    run = FromScratch.run


def test_a_users_protocol_may_refuse_or_say_nothing() -> None:
    declared = matrix([MOONS], [FLIP, LabelFlip(0.3)], [NONE], Picky())
    assert [one.reason for one in declared.left_out(Scale.SMOKE)] == ["too loud"]


def test_reasons_are_grouped_the_most_frequent_first() -> None:
    found = [LeftOut("a", "rare"), *(LeftOut(name, "frequent") for name in "bcd")]
    assert describe(found) == [
        "4 combinations do not apply and are left out (-v lists them):",
        "  3: frequent (such as b)",
        "  1: rare (a)",
    ]
    assert describe(found, every_name=True) == [
        "4 combinations do not apply and are left out:",
        "  3: frequent",
        "    b",
        "    c",
        "    d",
        "  1: rare",
        "    a",
    ]
    assert describe([]) == []
