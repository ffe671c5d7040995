import importlib.util
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from gradshape.attacks import LabelFlip
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import Adam, Recipe
from gradshape_bench.case import Case, ExpectedFailure, Scale, Task, by_id
from gradshape_bench.matrix import MARK, Expect, Matrix, Sized, all_cases, benchmark_cases
from gradshape_bench.protocols import Accuracy, FromScratch
from gradshape_bench.verdict import Threshold

RECIPE = Recipe("lr", Adam(0.01), batch_size=32, epochs=40)
TASKS = [Task("digits", RECIPE), Task("two_moons", RECIPE)]
FLIPS = [LabelFlip(0.1), LabelFlip(0.4)]
DEFENSES = [NoDefense(), GradientShaping(Clip(4))]
MATRIX = Matrix(TASKS, FLIPS, DEFENSES, thresholds=[Threshold("rad", "<", 0.05)])
KNOWN = ExpectedFailure("why", "where")


def ids(matrix: Matrix, scale: Scale = Scale.SMOKE) -> list[str]:
    return [case.id for case in matrix.cases(scale, (0,))]


def suite_matrices() -> Iterator[Matrix]:
    """All matrices of the suites."""
    for path in sorted((Path(__file__).parents[2] / "suites").glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"suite_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        for value in vars(module).values():
            for mark in getattr(value, "pytestmark", []):
                if mark.name == MARK:
                    yield from mark.args


@pytest.fixture(scope="module")
def suites() -> list[Matrix]:
    return list(suite_matrices())


def test_cases_stand_in_the_order_of_the_axes() -> None:
    assert ids(MATRIX) == [
        f"{task}-lr-label_flip_{intensity}-{defense}"
        for task in ("digits", "two_moons")
        for intensity in (10, 40)
        for defense in ("vanilla", "dp_adam_c4")
    ]


def test_cases_carry_what_the_matrix_declares() -> None:
    matrix = replace(MATRIX, protocol=FromScratch(Accuracy.LAST))
    case = matrix.cases(Scale.PAPER, [3, 5])[0]
    assert case == Case(
        TASKS[0],
        FLIPS[0],
        DEFENSES[0],
        scale=Scale.PAPER,
        seeds=(3, 5),
        thresholds=(Threshold("rad", "<", 0.05),),
        protocol=FromScratch(Accuracy.LAST),
    )


def test_sized_attacks_differ_between_scales() -> None:
    matrix = replace(MATRIX, tasks=TASKS[:1], attacks=Sized(smoke=FLIPS[:1], paper=FLIPS), defenses=DEFENSES[:1])
    assert ids(matrix, Scale.SMOKE) == ["digits-lr-label_flip_10-vanilla"]
    assert ids(matrix, Scale.PAPER) == ["digits-lr-label_flip_10-vanilla", "digits-lr-label_flip_40-vanilla"]


def test_sized_defenses_differ_between_scales() -> None:
    matrix = replace(MATRIX, tasks=TASKS[:1], attacks=FLIPS[:1], defenses=Sized(smoke=DEFENSES[1:], paper=DEFENSES))
    assert ids(matrix, Scale.SMOKE) == ["digits-lr-label_flip_10-dp_adam_c4"]
    assert ids(matrix, Scale.PAPER) == ["digits-lr-label_flip_10-vanilla", "digits-lr-label_flip_10-dp_adam_c4"]


def test_sized_tasks_and_protocols_differ_between_scales() -> None:
    protocol = Sized(smoke=FromScratch(Accuracy.LAST), paper=FromScratch())
    tasks = Sized(smoke=TASKS[:1], paper=TASKS)
    matrix = replace(MATRIX, tasks=tasks, attacks=FLIPS[:1], defenses=DEFENSES[:1], protocol=protocol)
    assert ids(matrix, Scale.SMOKE) == ["digits-lr-label_flip_10-vanilla-from_scratch_last"]
    assert ids(matrix, Scale.PAPER) == ["digits-lr-label_flip_10-vanilla", "two_moons-lr-label_flip_10-vanilla"]


def test_matrix_of_one_scale_has_no_cases_at_the_other() -> None:
    matrix = replace(MATRIX, scales=[Scale.PAPER])
    assert ids(matrix, Scale.SMOKE) == []
    assert ids(matrix, Scale.PAPER) == ids(MATRIX, Scale.PAPER)


CASE = MATRIX.cases(Scale.SMOKE, (0,))[1]


@pytest.mark.parametrize(
    "expect",
    [
        Expect(KNOWN),
        Expect(KNOWN, tasks=["digits-lr"]),
        Expect(KNOWN, attacks=["label_flip_40", "label_flip_10"]),
        Expect(KNOWN, defenses=["dp_adam_c4"]),
        Expect(KNOWN, tasks=["digits-lr"], attacks=["label_flip_10"], defenses=["dp_adam_c4"]),
        Expect(KNOWN, scales=[Scale.SMOKE]),
    ],
    ids=["all", "task", "attack", "defense", "each", "scale"],
)
def test_expectation_covers_a_case_that_is_in_every_given_list(expect: Expect) -> None:
    assert expect.covers(CASE)


@pytest.mark.parametrize(
    "expect",
    [
        Expect(KNOWN, tasks=["digits"]),
        Expect(KNOWN, tasks=["two_moons-lr"]),
        Expect(KNOWN, attacks=["label_flip_40"]),
        Expect(KNOWN, defenses=["vanilla"]),
        Expect(KNOWN, tasks=["digits-lr"], attacks=["label_flip_10"], defenses=["vanilla"]),
        Expect(KNOWN, scales=[Scale.PAPER]),
        Expect(KNOWN, tasks=[]),
    ],
    ids=["name alone", "task", "attack", "defense", "one of three", "scale", "none"],
)
def test_expectation_does_not_cover_others(expect: Expect) -> None:
    assert not expect.covers(CASE)


@pytest.mark.parametrize(
    ("by_value", "by_label"),
    [
        (Expect(KNOWN, tasks=TASKS[:1]), Expect(KNOWN, tasks=["digits-lr"])),
        (Expect(KNOWN, attacks=FLIPS[1:]), Expect(KNOWN, attacks=["label_flip_40"])),
        (Expect(KNOWN, defenses=DEFENSES[1:]), Expect(KNOWN, defenses=["dp_adam_c4"])),
    ],
)
def test_what_is_expected_is_named_by_itself_or_by_its_label(by_value: Expect, by_label: Expect) -> None:
    cases = MATRIX.cases(Scale.SMOKE, (0,))
    assert [by_value.covers(case) for case in cases] == [by_label.covers(case) for case in cases]
    assert any(by_value.covers(case) for case in cases)


@pytest.mark.parametrize(
    ("expect", "named"),
    [
        (Expect(KNOWN, attacks=["label_flop_40"]), r"Expect\('why', attacks=\['label_flop_40'\]\)"),
        (Expect(KNOWN, attacks=["label_flip_40", "label_flop_40"]), "declared: 'label_flop_40'$"),
        (Expect(KNOWN, attacks=[*FLIPS, LabelFlip(0.3)]), r"declared: LabelFlip\(fraction=0.3"),
        (Expect(KNOWN, defenses=[GradientShaping(Clip(3))]), "Expect.*GradientShaping"),
        (Expect(KNOWN, tasks=["digits-mlp", "digits-lr"]), "declared: 'digits-mlp'$"),
        (Expect(KNOWN, scales=[]), r"Expect\('why'\)"),
    ],
)
def test_an_expectation_of_no_declared_case_is_refused(expect: Expect, named: str) -> None:
    with pytest.raises(ValueError, match=named):
        benchmark_cases(replace(MATRIX, expected_failures=[expect]))


def test_one_expectation_may_speak_of_several_matrices() -> None:
    expect = Expect(KNOWN, attacks=["label_flip_10", "label_flip_40"])
    halves = [replace(MATRIX, attacks=[flip], expected_failures=[expect]) for flip in FLIPS]
    assert benchmark_cases(*halves) is not None


def test_covered_cases_expect_to_fail() -> None:
    matrix = replace(MATRIX, expected_failures=[Expect(KNOWN, attacks=["label_flip_40"])])
    for case in matrix.cases(Scale.SMOKE, (0,)):
        assert case.expected_failure == (KNOWN if case.attack == FLIPS[1] else None)


def test_first_expectation_counts() -> None:
    other = ExpectedFailure("other", "where")
    matrix = replace(MATRIX, expected_failures=[Expect(KNOWN, tasks=["digits-lr"]), Expect(other)])
    reasons = {case.task.dataset: case.expected_failure for case in matrix.cases(Scale.SMOKE, (0,))}
    assert reasons == {"digits": KNOWN, "two_moons": other}


@dataclass(frozen=True)
class Hidden(LabelFlip):
    """Has a field that it does not compare by."""

    strength: float = field(default=0.0, compare=False)

    @property
    def label(self) -> str:
        return f"hidden_{self.strength:g}"


def test_attacks_that_compare_equal_have_a_case_each_and_are_expected_to_fail_on_their_own() -> None:
    faint, strong = (Hidden(0.1, strength=strength) for strength in (0.0, 1.0))
    matrix = replace(MATRIX, attacks=[faint, strong], expected_failures=[Expect(KNOWN, attacks=[faint])])
    cases = all_cases([matrix, matrix], Scale.SMOKE, (0,))
    assert len(cases) == len({case.id for case in cases}) == 2 * len(TASKS) * len(DEFENSES)
    assert {case.attack.label for case in cases if case.expected_failure} == {"hidden_0"}


def test_case_that_two_matrices_declare_alike_stands_once() -> None:
    assert all_cases([MATRIX, MATRIX], Scale.SMOKE, (0,)) == MATRIX.cases(Scale.SMOKE, (0,))


def test_case_that_two_matrices_declare_differently_stands_twice() -> None:
    other = replace(MATRIX, thresholds=[])
    both = all_cases([MATRIX, other], Scale.SMOKE, (0,))
    assert len(both) == 2 * len(MATRIX.cases(Scale.SMOKE, (0,)))
    with pytest.raises(ValueError, match="two different cases are called 'digits-lr-label_flip_10-vanilla'"):
        by_id(both)


def test_mark_carries_the_matrices() -> None:
    @benchmark_cases(MATRIX)
    def marked() -> None:
        pass

    (mark,) = marked.pytestmark  # type: ignore[attr-defined]
    assert (mark.name, mark.args) == (MARK, (MATRIX,))


@pytest.mark.parametrize("scale", Scale)
def test_suites_have_cases(scale: Scale, suites: list[Matrix]) -> None:
    assert all_cases(suites, scale, (0,))


@pytest.mark.parametrize("scale", Scale)
def test_ids_of_the_suites_are_unique(scale: Scale, suites: list[Matrix]) -> None:
    cases = all_cases(suites, scale, (0,))
    assert len(by_id(cases)) == len(cases)


@pytest.mark.parametrize("scale", Scale)
def test_ids_of_the_suites_are_fit_for_k(scale: Scale, suites: list[Matrix]) -> None:
    # No spaces, no `=`, no brackets: each of them means something to `-k`.
    bad = [case.id for case in all_cases(suites, scale, (0,)) if not re.fullmatch(r"[\w.-]+", case.id)]
    assert bad == []


def test_ids_of_the_suites_are_stable() -> None:
    first, second = (
        {case.id: case.fingerprint for case in all_cases(list(suite_matrices()), Scale.SMOKE, (0,))} for _ in "ab"
    )
    assert first == second
