"""What the leaderboard says of attacks on single targets."""

from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.records.record import Record
from gradshape_bench.report.leaderboard import render
from gradshape_bench.report.ordering import best_defense
from tests.bench.report.board.reading import merged, tables, task_page
from tests.bench.sample import aimed, estimate, make

WON = "### How many targets were won (`success_rate` ↓)"


def test_below_a_success_rate_is_its_control() -> None:
    table = merged(tables(task_page([aimed(), aimed("dp_adam_c4_x2", won=7, control=1)]), WON))
    assert list(table)[:2] == ["poison_frogs_100", "*poison_frogs_100, control*"]
    assert table["poison_frogs_100"]["vanilla"] == "0.466 [0.356, 0.579]"
    assert table["*poison_frogs_100, control*"]["dp_adam_c4_x2"] == "0.014 [0.002, 0.074]"


def test_targets_are_counted_case_by_case() -> None:
    [table, *_] = tables(task_page([aimed(protocol="multi_poison", poisons=1.79)]), "Targets.")
    assert table["poison_frogs_100"] == {
        "defence": "vanilla",
        "won": "34 of 73",
        "control": "2 of 73",
        "won, raw": "37 of 73",
        "control, raw": "2 of 73",
        "poison rows needed": "1.79 [1.49, 2.09]",
        "candidates": "40 to 100",
        "no poison near": "27",
        "misclassified": "7",
    }


def test_columns_that_nobody_has_a_value_for_are_left_out() -> None:
    [counts, *_] = tables(task_page([aimed()]), "Targets.")
    assert "poison rows needed" not in counts["poison_frogs_100"]


def test_pages_without_a_control_have_no_table_of_targets() -> None:
    page = task_page([make(metrics={"success_rate": estimate(0.4), "utility_loss": estimate(0.01)}, thresholds=())])
    assert "Targets." not in page
    assert "control*" not in page


def test_a_rate_of_no_target_is_no_number_and_never_the_best() -> None:
    row = [aimed(), aimed("dp_adam_c4_x2", won=7), aimed("dp_adam_c4_s4_x2", won=0, control=0, targets=0)]
    table = merged(tables(task_page(row), WON))
    assert table["poison_frogs_100"]["dp_adam_c4_s4_x2"] == "no target"
    assert table["*poison_frogs_100, control*"]["dp_adam_c4_s4_x2"] == "no target"
    best = best_defense(row)
    assert best is not None
    assert best.defense == "dp_adam_c4_x2"


def test_counts_that_a_record_does_not_have_are_empty() -> None:
    details = {"candidates": "many", "targets_misclassified": None}
    [table, *_] = tables(task_page([aimed(details=details), aimed("dp_adam_c4_x2")]), "Targets.")
    assert len(table) == 1
    [line] = [line for line in task_page([aimed(details=details)]).splitlines() if "34 of 73" in line]
    assert "27" in line


def test_experiments_on_targets_are_explained() -> None:
    page = task_page([aimed(), aimed("dp_adam_c4_x2", protocol="multi_poison_vanilla_to_defended")]).replace("\n", " ")
    assert "to be taken for 4. Both trainings are by the defended recipe." in page
    assert "The base is trained by the vanilla recipe and further by the defended one." in page


@given(
    st.permutations(
        [
            aimed(),
            aimed("dp_adam_c4_x2"),
            aimed(protocol="multi_poison", poisons=2.0),
            aimed(targets=0, won=0, control=0, attack="poison_frogs_10"),
        ]
    )
)
def test_order_of_records_on_targets_does_not_matter(records: list[Record]) -> None:
    assert render(records) == render(records[::-1])
