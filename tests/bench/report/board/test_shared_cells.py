"""Which defences are ranked side by side, and on which cells."""

from collections.abc import Mapping
from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from gradshape_bench.report.board.shared_cells import shared_cells

MEASURED = st.dictionaries(st.sampled_from(["vanilla", *"abcde"]), st.sets(st.integers(0, 5)), max_size=6)


def brute_force(measured: Mapping[str, set[int]], reference: str) -> int:
    """The largest number of entries of a full table of two defences or more."""
    common = measured.get(reference) or set(range(6))
    best = 0
    for size in range(2, len(measured) + 1):
        for labels in combinations(measured, size):
            best = max(best, size * len(common.intersection(*(measured[label] for label in labels))))
    return best


@given(MEASURED)
def test_every_ranked_defence_has_every_cell(measured: dict[str, set[int]]) -> None:
    found = shared_cells(measured, reference="vanilla")
    if found is not None:
        assert len(found.defenses) >= 2
        assert found.cells
        assert all(found.cells <= measured[label] for label in found.defenses)


@given(MEASURED)
def test_plain_training_is_in_the_table_if_it_was_measured(measured: dict[str, set[int]]) -> None:
    found = shared_cells(measured, reference="vanilla")
    if found is not None and measured.get("vanilla"):
        assert found.defenses[0] == "vanilla"


@given(MEASURED)
def test_there_is_a_table_wherever_two_share_a_cell(measured: dict[str, set[int]]) -> None:
    assert (shared_cells(measured, reference="vanilla") is None) == (brute_force(measured, "vanilla") == 0)


@given(MEASURED, st.randoms())
def test_the_order_of_the_defences_does_not_matter(measured: dict[str, set[int]], random: object) -> None:
    backwards = dict(reversed(measured.items()))
    assert shared_cells(measured, reference="vanilla") == shared_cells(backwards, reference="vanilla")


def test_a_few_defences_on_many_cells_win_over_many_on_one() -> None:
    many: dict[str, set[int]] = {label: {0} for label in "cdefgh"}
    found = shared_cells({"vanilla": set(range(9)), "a": set(range(9)), "b": set(range(9))} | many, reference="vanilla")
    assert found is not None
    assert found.defenses == ("vanilla", "a", "b")
    assert found.cells == set(range(9))
