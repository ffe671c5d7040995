import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.ordering import best_defense, defense_order, label_order
from tests.bench.sample import DEFENSES, make, unmeasured


@pytest.mark.parametrize(
    "labels",
    [
        ["label_flip_0", "label_flip_0.5", "label_flip_1", "label_flip_10", "label_flip_koh90_1", "label_flip_koh90_2"],
        ["a_1", "b", "b_1e-07", "b_1e-05", "b_0.001", "b_1"],
        ["", "_", "x-1"],
    ],
)
def test_attacks_sort_by_family_and_number(labels: list[str]) -> None:
    assert sorted(set(labels), key=label_order) == labels


def test_defenses_sort_from_the_weakest() -> None:
    labels = [*DEFENSES, "dp_sgd_c4", "sphere_0.05", "sphere_0.1"]
    assert sorted(set(labels), key=defense_order) == labels


@settings(max_examples=50)
@given(st.lists(st.text(max_size=12), max_size=8))
def test_any_labels_can_be_sorted(labels: list[str]) -> None:
    backwards = labels[::-1]
    assert sorted(labels, key=defense_order) == sorted(backwards, key=defense_order)


def test_best_may_be_vanilla_and_of_equals_is_the_leftmost() -> None:
    row = [make(defense=defense, rad=0.01, loss=0.0) for defense in reversed(DEFENSES)]
    best = best_defense(row)
    assert best is not None
    assert best.defense == "vanilla"
    best = best_defense([*row[:-1], make(defense="vanilla", rad=0.02, loss=0.0)])
    assert best is not None
    assert best.defense == "dp_adam_c8"


@pytest.mark.parametrize(
    "row",
    [
        [],
        [make()],
        [make(), unmeasured(Status.FAILED, "none", defense="vanilla")],
        [make(details={"budget": 0}), make(defense="vanilla", details={"budget": 0})],
        [make(details={"poison_rows": [0, 0]}), make(defense="vanilla", details={"poison_rows": [0, 0]})],
    ],
    ids=["empty", "single", "single measured", "no budget", "no rows"],
)
def test_no_best_without_poison_or_comparison(row: list[Record]) -> None:
    assert best_defense(row) is None
