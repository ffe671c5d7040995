import pytest
import torch

from gradshape.attacks.regression._one_hot import Groups, check_groups, snap

ROWS = torch.tensor([[0.2, 0.4, 0.9, 0.1, 0.3], [0.5, 0.5, 0.0, 0.2, 0.1]])


def test_the_largest_of_a_group_becomes_1_and_the_others_0() -> None:
    snapped = snap(ROWS, ((0, 1), (4, 2)))
    assert snapped[0].tolist() == pytest.approx([0, 1, 1, 0.1, 0])
    assert snapped[1].tolist() == pytest.approx([1, 0, 0, 0.2, 1])


def test_the_rows_stay_as_they_are() -> None:
    before = ROWS.clone()
    snap(ROWS, ((0, 1),))
    assert before.equal(ROWS)


def test_snapping_twice_changes_nothing() -> None:
    once = snap(ROWS, ((0, 1, 2),))
    assert snap(once, ((0, 1, 2),)).equal(once)


def test_without_groups_nothing_changes() -> None:
    assert snap(ROWS, ()).equal(ROWS)


@pytest.mark.parametrize("groups", [((1,),), ((0, 0),), ((0, 1), (1, 2)), ((-1, 0),)], ids=str)
def test_groups_that_are_none_are_refused(groups: Groups) -> None:
    with pytest.raises(ValueError, match=r"one_hot=.*expected"):
        check_groups(groups)


def test_columns_that_rows_do_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="expected column ids below 5"):
        snap(ROWS, ((0, 5),))
