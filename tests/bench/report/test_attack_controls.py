"""Attacks are held against random flips of the same budget under the same constraints."""

import importlib.util
from collections import Counter
from pathlib import Path

import pytest

from gradshape.metrics import Estimate, success_rate
from gradshape_bench.case import Case, Scale
from gradshape_bench.matrix import MARK, all_cases
from gradshape_bench.protocols import FromScratch
from gradshape_bench.records.record import Record
from gradshape_bench.report.attack_controls import control_labels, exceeds, no_better_than_control
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.leaderboard import render
from gradshape_bench.report.summary import summarize
from gradshape_bench.session import knowledge
from tests.bench.report.board.reading import RAD, TOTAL, tables, task_page
from tests.bench.sample import estimate, make

SUITES = Path(__file__).parents[3] / "suites"


def attacked(attack: str, control: str | None, *, rad: float | Estimate) -> list[Record]:
    """What was measured of an attack: it does harm without a defence, and one does away with it."""
    details = {"attack_control": control}
    return [
        make(attack=attack, defense="vanilla", rad=rad, loss=0.0, details=details),
        make(attack=attack, defense="dp_adam_c4", rad=0.0, loss=0.0, details=details),
    ]


FLIPS = attacked("label_flip_koh90_20", None, rad=0.05)
STRONG, WEAK = (attacked(name, "label_flip_koh90_20", rad=rad) for name, rad in (("a_20", 0.09), ("b_20", 0.052)))
ALONE = attacked("c_20", "label_flip_20", rad=0.01)


def test_an_attack_that_does_significantly_more_than_its_control_is_no_short_one() -> None:
    assert no_better_than_control([*FLIPS, *STRONG, *WEAK]) == {"b_20"}
    assert control_labels([*FLIPS, *STRONG, *WEAK, *ALONE]) == {"label_flip_koh90_20", "label_flip_20"}


def test_nothing_is_known_of_an_attack_whose_control_was_not_measured() -> None:
    assert no_better_than_control([*FLIPS, *ALONE]) == frozenset()
    assert no_better_than_control([*FLIPS, WEAK[1]]) == frozenset()


@pytest.mark.parametrize(
    ("one", "other", "more"),
    [
        (estimate(0.06), estimate(0.05), True),
        (estimate(0.05), estimate(0.05), False),
        (estimate(0.055), estimate(0.05), False),
        (estimate(0.04), estimate(0.05), False),
        (Estimate(0.9, None, None, n=1), estimate(0.05), False),
        (estimate(0.9), Estimate(0.05, None, None, n=1), False),
        (Estimate(0.9, 0.9, 0.9, n=3), Estimate(0.5, 0.5, 0.5, n=3), True),
        (Estimate(0.5, 0.5, 0.5, n=3), Estimate(0.5, 0.5, 0.5, n=3), False),
    ],
)
def test_more_is_more_than_the_intervals_allow_for(one: Estimate, other: Estimate, more: bool) -> None:
    assert exceeds(one, other) is more


def test_the_board_marks_it_and_its_control_and_counts_no_defence_as_best_against_it() -> None:
    page = task_page([*FLIPS, *STRONG, *WEAK, *ALONE])
    for caption in (RAD, TOTAL):
        (table,) = tables(page, caption)
        assert list(table) == ["a_20", "b_20 ‡", "c_20", "label_flip_koh90_20 *(control)*"]
        assert [any("**" in cell for cell in row.values()) for row in table.values()] == [True, False, True, True]


def test_the_legend_says_what_the_marks_mean() -> None:
    page = render(FLIPS)["leaderboard/legend.md"]
    assert "- *(control)*: random flips" in page
    assert "‡: an attack that does not do significantly more" in page


def test_the_page_is_the_same_in_any_order_of_the_records() -> None:
    records = [*FLIPS, *STRONG, *WEAK, *ALONE]
    assert render(records) == render(records[::-1])
    assert (
        RecordGroup.of(records)[0].no_better_than_control
        == RecordGroup.of(records[::-1])[0].no_better_than_control
        == {"b_20"}
    )


def test_the_summary_names_no_best_defence_against_it() -> None:
    rows = [line.text.split() for line in summarize([*FLIPS, *STRONG, *WEAK], width=200)]
    best = {row[2]: row[6] for row in rows if len(row) > 6 and row[0] == "digits,"}
    assert (best["a_20"], best["b_20"]) == ("dp_adam_c4", "-")


def suite_cases(scale: Scale) -> list[Case]:
    """The cases of all suites."""
    cases = []
    for path in sorted(SUITES.glob("test_*.py")):
        spec = importlib.util.spec_from_file_location(f"suite_{path.stem}", path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        marks = [mark for test in vars(module).values() for mark in getattr(test, "pytestmark", ())]
        cases += all_cases([matrix for mark in marks if mark.name == MARK for matrix in mark.args], scale, (0,))
    return cases


@pytest.mark.parametrize("scale", Scale, ids=lambda scale: str(scale.value))
def test_every_attack_that_has_a_control_is_measured_beside_it_without_a_defence(scale: Scale) -> None:
    cases = suite_cases(scale)
    assert max(Counter(case.id for case in cases).values()) == 1
    undefended = {
        (case.task.dataset, case.task.model, case.attack.label, case.rows, case.vanilla)
        for case in cases
        if case.defense_label == "vanilla" and case.protocol == FromScratch()
    }
    for case in cases:
        if case.attack.control is not None and case.protocol == FromScratch():
            for label in (case.attack.label, case.attack.control.label):
                key = (case.task.dataset, case.task.model, label, case.rows, case.vanilla)
                assert key in undefended, f"{case.id}: {label} is not measured without a defence"
            assert case.attack.control.budget(1000) == case.attack.budget(1000)
            assert knowledge(case)["attack_control"] == case.attack.control.label


def aimed(won: Estimate, control: Estimate) -> Record:
    return make(attack="frogs_4", defense="vanilla", metrics={"success_rate": won, "success_rate_control": control})


def test_an_attack_on_single_targets_has_to_exceed_clean_rows_in_its_place() -> None:
    many, few, none = success_rate(20, 24), success_rate(4, 24), Estimate(0.0, 0.0, 1.0, n=0)
    assert no_better_than_control([aimed(many, few)]) == frozenset()
    assert no_better_than_control([aimed(few, few)]) == {"frogs_4"}
    assert no_better_than_control([aimed(none, none)]) == frozenset()  # No target, so nothing is known.
