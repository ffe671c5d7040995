import pytest
import torch

from gradshape.defenses import TRIM, NoDefense, Suspect
from gradshape.defenses._assumed import assumed_label, poison_rows


def rows(count: int, budget: int | None = None) -> Suspect:
    return Suspect(
        torch.zeros(count, 1), torch.zeros(count), num_classes=0, assumptions=TRIM.assumptions, budget=budget
    )


@pytest.mark.parametrize(("clean", "fraction"), [(100, 0.1), (300, 0.25), (37, 0.4), (500, 0.04), (100, 0.0)])
def test_a_right_assumption_gives_the_number_of_poison_rows(clean: int, fraction: float) -> None:
    poison = round(fraction * clean)
    assert poison_rows(rows(clean + poison), fraction) == pytest.approx(poison, abs=1)


def test_without_an_assumption_the_number_is_asked_for() -> None:
    assert poison_rows(rows(20, budget=7), None) == 7
    with pytest.raises(ValueError, match="no budget was given"):
        poison_rows(rows(20), None)


@pytest.mark.parametrize(("budget", "fraction"), [(20, None), (99, None), (None, 1e9)])
def test_one_row_at_least_is_clean(budget: int | None, fraction: float | None) -> None:
    assert poison_rows(rows(20, budget=budget), fraction) == 19


def test_who_assumes_is_not_told() -> None:
    train = Suspect(
        torch.zeros(5, 1), torch.zeros(5), num_classes=0, assumptions=TRIM(fraction=0.1).assumptions, budget=2
    )
    with pytest.raises(PermissionError, match="no knowledge of budget"):
        _ = train.budget


def test_assuming_changes_no_other_defense() -> None:
    TRIM(fraction=0.1)
    assert TRIM.assumptions.knows_budget
    assert TRIM().assumptions is TRIM.assumptions
    assert not NoDefense.assumptions.knows_budget


def test_labels_carry_the_assumption() -> None:
    assert [assumed_label("trim", fraction) for fraction in (None, 0.2, 0.0)] == ["trim", "trim_20", "trim_0"]
