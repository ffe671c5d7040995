import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

from gradshape_bench.records.record import Status
from gradshape_bench.report.plots.plot_group import defense_groups, intensity, plot_groups, without_numbers
from tests.bench.sample import DEFENSES, make, unmeasured


@pytest.mark.parametrize(
    ("label", "found"),
    [
        ("label_flip_40", ("label_flip", 40.0)),
        ("label_flip_0.5", ("label_flip", 0.5)),
        ("label_flip_koh90_10", ("label_flip_koh90", 10.0)),
        ("collision_a0.5_40", ("collision_a0.5", 40.0)),
        ("no_attack", None),
        ("insertion_p4", None),
    ],
)
def test_intensity_is_the_last_number_of_its_own(label: str, found: tuple[str, float] | None) -> None:
    assert intensity(label) == found


def test_settings_of_one_attack_are_kin() -> None:
    assert (
        without_numbers("collision_a0.5_40")
        == without_numbers("collision_a0.9_40")
        != without_numbers("insertion_p4_1")
    )


def test_clipping_and_noise_are_different_groups() -> None:
    clipping, noise = defense_groups(DEFENSES)
    assert clipping == list(DEFENSES[1:6])
    assert noise == list(DEFENSES[6:])


def test_no_group_has_more_curves_than_can_be_told_apart() -> None:
    labels = [f"dp_adam_c{norm}" for norm in range(20)]
    groups = defense_groups(labels)
    assert [label for group in groups for label in group] == labels
    assert max(map(len, groups)) <= 6


def test_plain_training_alone_is_one_group() -> None:
    assert defense_groups(["vanilla"]) == [[]]


def test_what_was_not_measured_is_in_no_section() -> None:
    assert plot_groups([unmeasured(Status.CRASHED, None), unmeasured(Status.SKIPPED, "data: none")]) == []


def test_section_is_one_data_set_model_protocol_and_scale() -> None:
    others = [make(dataset="a"), make(model="b"), make(protocol="c"), make(scale="paper")]
    found = plot_groups([make(), make(defense="vanilla"), *others])
    assert sorted(len(group.records) for group in found) == [1, 1, 1, 1, 2]
