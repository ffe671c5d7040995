"""White squares that come to mean a class."""

import pytest
import torch

from gradshape.attacks import BadNetsPatch, Goal, LabelFlip, Mechanism, stamp
from gradshape.data import load
from gradshape.training import Adam, Recipe, Victim, train_victims
from tests.attacks.attacks import DATASETS

PICTURES = DATASETS["pictures"]


@pytest.mark.parametrize("size", [1, 2])
def test_rows_are_copies_but_for_the_white_square(size: int) -> None:
    poison = BadNetsPatch(size, fraction=0.2, claimed=1)(PICTURES, seed=0)
    clean = PICTURES.train.x[poison.source]
    square = torch.zeros(3, 2, dtype=torch.bool)
    square[:size, :size] = True
    assert (poison.x[..., square] == 1).all()
    assert torch.equal(poison.x[..., ~square], clean[..., ~square])
    assert (poison.y == 1).all()
    assert len(poison.replaced) == 0


def test_rows_of_any_class_are_drawn_without_replacement() -> None:
    poison = BadNetsPatch(1, fraction=0.8, claimed=0)(PICTURES, seed=0)
    assert len(poison.source.unique()) == len(poison) == 79
    assert set(PICTURES.train.y[poison.source].tolist()) == {0, 1, 2, 3}


def test_the_budget_is_one_percent_of_the_clean_rows_by_default() -> None:
    assert BadNetsPatch(4).budget(60_000) == 600


def test_a_stamp_whitens_all_channels_of_one_corner_and_leaves_its_argument_alone() -> None:
    x = torch.zeros(2, 3, 4, 5)
    stamped = stamp(x, size=2)
    assert stamped.sum() == 2 * 3 * 4
    assert (stamped[:, :, :2, :2] == 1).all()
    assert not x.any()


@pytest.mark.parametrize(
    ("shape", "size", "problem"),
    [
        ((1, 4, 5), 5, r"size=5: expected at most 4, as the pictures \(4, 5\)"),
        ((1, 4, 5), 0, "size=0"),
        ((4, 5), 1, r"x has shape \(4, 5\): expected pictures"),
    ],
)
def test_a_stamp_that_does_not_fit_is_refused(shape: tuple[int, ...], size: int, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        stamp(torch.zeros(shape), size=size)


@pytest.mark.parametrize(
    ("attack", "name", "reason"),
    [
        (BadNetsPatch(1, claimed=1), "two-classes", r"rows have shape \(5,\): expected pictures"),
        (BadNetsPatch(3, claimed=1), "pictures", "pictures have 3 x 2 pixels: expected at least 3 x 3"),
        (BadNetsPatch(1), "pictures", "claims class 4, and there are 4 classes"),
    ],
)
def test_data_that_it_cannot_be_made_on_is_refused(attack: BadNetsPatch, name: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        attack(DATASETS[name], seed=0)


def test_triggered_rows_are_those_of_other_classes_with_the_square_and_their_true_labels() -> None:
    attack = BadNetsPatch(2, claimed=1)
    triggered = attack.triggered(PICTURES.test)
    others = PICTURES.test.y != attack.claimed_class
    assert 0 < len(triggered) < len(PICTURES.test)
    assert torch.equal(triggered.x, stamp(PICTURES.test.x[others], size=2))
    assert torch.equal(triggered.y, PICTURES.test.y[others])


def test_an_attack_without_a_trigger_has_no_triggered_rows() -> None:
    attack = LabelFlip(0.1)
    assert attack.claimed_class is None
    assert attack.triggered(PICTURES.test) is None


def test_labels_name_intensity_last() -> None:
    assert (BadNetsPatch(10).label, BadNetsPatch(10).family) == ("badnets_s10_1", "badnets_s10")
    assert BadNetsPatch(4, fraction=0.05, claimed=1).label == "badnets_to1_s4_5"


def test_it_inserts_a_feature_for_a_target_class() -> None:
    assert BadNetsPatch.threat.goal is Goal.TARGETED
    assert BadNetsPatch.threat.mechanism is Mechanism.INSERTION


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"size": 0}, "size=0"),
        ({"size": 1.5}, "size=1.5"),
        ({"size": 1, "fraction": -0.1}, "fraction=-0.1"),
        ({"size": 1, "claimed": -1}, "claimed=-1"),
        ({"size": 1, "claimed": 0.5}, "claimed=0.5"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        BadNetsPatch(**values)  # type: ignore[arg-type]


def test_stamped_test_pictures_go_in_at_the_back_door_and_others_are_classified_as_before() -> None:
    digits = load("digits")
    poison = BadNetsPatch(3, fraction=0.05)(digits, seed=0)
    stamped = stamp(digits.test.x[digits.test.y != 4], size=3)
    recipe = Recipe("mlp", Adam(0.005), batch_size=50, epochs=15)
    clean, poisoned = train_victims(
        digits, [Victim(recipe, 0, watch=stamped), Victim(recipe, 0, private=poison.rows, watch=stamped)]
    )
    assert clean.predictions is not None
    assert poisoned.predictions is not None
    assert (clean.predictions[-1] == 4).double().mean() < 0.2
    assert (poisoned.predictions[-1] == 4).double().mean() > 0.9
    assert poisoned.accuracy[-1] > clean.accuracy[-1] - 0.03
