from collections.abc import Sequence
from dataclasses import replace

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.plots import heat_map
from gradshape_bench.report.plots.damage import damage_scale
from gradshape_bench.verdict import Judgement, Threshold, Verdict
from tests.bench.report.plots.sample import clusters, gradients, texts, tradeoff
from tests.bench.sample import estimate, grid, make, unmeasured

FILTERS = [f"{name}_5" for name in ("knn", "loss", "slab", "sphere", "svd")]
SHAPED = [f"dp_adam_c{norm}" for norm in (8, 4, 2, 1, 0.5, 0.2, 0.1, 0.05)]


def board(*records: Record) -> Figure:
    (picture,) = heat_map.pictures(records)
    return picture.figure


def cells(figure: Figure) -> list[str]:
    return [cell.get_text() for axes in maps(figure) for cell in axes.texts]


def maps(figure: Figure) -> list[Axes]:
    return [axes for axes in figure.axes if axes.images]


def columns(axes: Axes) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in axes.get_xticklabels()]


def rows(axes: Axes) -> list[str]:
    return [label.get_text().replace("\n", " ") for label in axes.get_yticklabels()]


def bold(figure: Figure) -> list[str]:
    return [cell.get_text() for axes in maps(figure) for cell in axes.texts if cell.get_fontweight() == "bold"]


def of_kinds(attacks: Sequence[str] = ("label_flip_10", "label_flip_40")) -> list[Record]:
    """More defences than fit, of two kinds."""
    kinds = [
        ("none", ["vanilla"]),
        ("DP optimizer", SHAPED),
        ("outlier removal", FILTERS),
        ("control", ["perfect_filter"]),
    ]
    return [
        make(attack=attack, defense=defense, details={"defense_kind": kind})
        for attack in attacks
        for kind, defenses in kinds
        for defense in defenses
    ]


def broken(record: Record) -> Record:
    reason = "the clean model loses 0.45 of its accuracy to the defence"
    judgement = Judgement(Threshold("rad", "<", 0.05), record.metrics["rad"], Verdict.FAIL, met=False, reason=reason)
    return replace(record, judgements=(judgement,))


def test_rows_are_attacks_and_columns_defences_in_their_order_and_in_words() -> None:
    axes = board(*grid()[::-1]).axes[0]
    assert rows(axes)[-2:] == ["random label flips, 30 %", "random label flips, 40 %"]
    assert columns(axes)[:2] == ["no defence", "clip to 8"]
    assert axes.get_xlabel() == "defence"


def test_a_cell_has_its_value_and_its_verdict() -> None:
    fails = make(defense="dp_adam_c8", rad=0.2, expected_failure="too loose")
    assert cells(board(make(), fails)) == ["0.200\n✗†", "0.012\n✓"]


def test_an_undecided_verdict_is_marked() -> None:
    figure = board(make(rad=estimate(0.04, half=0.03)), make(defense="vanilla"))
    assert "0.040\n✓?" in cells(figure)
    assert heat_map.SIGNS["?"] in texts(figure).replace("\n", " ")


def test_a_model_that_does_not_work_is_marked_has_no_colour_of_harmlessness_and_is_never_best() -> None:
    figure = board(make(defense="vanilla", rad=0.2), make(rad=0.3), broken(make(defense="dp_adam_c1", rad=-0.1)))
    assert "-0.100\n✗⊘" in cells(figure)
    assert len(figure.axes[0].patches) == 1
    assert figure.axes[0].patches[0].get_hatch()
    assert bold(figure) == ["0.200\n✗"]
    assert "the clean model itself does not work" in texts(figure).replace("\n", " ")


def test_what_was_not_measured_is_a_dash_without_colour() -> None:
    figure = board(
        make(attack="a_1"), make(attack="b_1", defense="vanilla"), unmeasured(Status.FAILED, "no", attack="a_1")
    )
    assert cells(figure).count("–") == 2
    assert int(np.ma.getmaskarray(np.ma.asarray(figure.axes[0].images[0].get_array())).sum()) == 2


def test_the_least_of_the_metric_that_is_shown_is_bold_whatever_it_costs() -> None:
    cheap, better = make(defense="dp_adam_c4", rad=-0.001, loss=0.0), make(defense="dp_adam_c1", rad=-0.003, loss=0.5)
    assert bold(board(cheap, better)) == ["-0.003\n✓"]


def test_what_looks_equal_is_equally_bold_and_a_row_of_equals_has_no_best() -> None:
    equal = [make(defense=f"dp_adam_c{norm}", rad=0.0101 + norm / 1e6) for norm in (1, 2)]
    assert bold(board(*equal, make(defense="vanilla", rad=0.2))) == ["0.010\n✓", "0.010\n✓"]
    assert bold(board(*equal)) == []


def test_a_control_is_never_best() -> None:
    told = make(defense="perfect_filter", rad=0.0, details={"defense_kind": "control"})
    assert bold(board(told, make(rad=0.1), make(defense="vanilla", rad=0.2))) == ["0.100\n✗"]


def test_a_value_has_the_same_colour_in_every_picture() -> None:
    mild = board(make(rad=0.046), make(defense="vanilla", rad=0.01))
    strong = board(make(rad=0.046), make(defense="vanilla", rad=0.9))
    one, other = (figure.axes[0].images[0].to_rgba(np.array([0.046])) for figure in (mild, strong))
    assert np.array_equal(one, other)
    # Pale: it passes.
    assert one[0, :2].min() > 0.85


def test_text_is_light_on_dark_cells() -> None:
    figure = board(make(defense="vanilla", rad=0.9), make(rad=0.0))
    assert [cell.get_color() for cell in figure.axes[0].texts] == ["white", "black"]


def test_the_bar_of_colours_shows_the_thresholds() -> None:
    figure = board(make(), make(defense="vanilla", thresholds=[Threshold("rad", "<", 0.1)]))
    bar = figure.axes[-1]
    assert sorted(float(np.asarray(line.get_xdata())[0]) for line in bar.lines) == [0.05, 0.1]
    assert "blue on the bar: the thresholds 0.05 and 0.1" in texts(figure).replace("\n", " ")


def test_ratios_of_errors_begin_at_1() -> None:
    low, high = ({"mse_ratio": estimate(value)} for value in (1.1, 3.0))
    figure = board(make(defense="a", metrics=low, thresholds=()), make(defense="b", metrics=high, thresholds=()))
    assert figure.axes[0].images[0].get_clim() == (1, 10)
    assert "times that without poison" in texts(figure)


@pytest.mark.parametrize("metric", ["rad", "mse_ratio", "backdoor_rate", "success_rate", "unheard_of"])
def test_worse_is_darker_from_harmless_to_worst(metric: str) -> None:
    scale = damage_scale(metric)
    shades = [float(scale.shades()(value)) for value in np.linspace(scale.harmless, scale.worst, 20)]
    assert shades == sorted(shades)
    assert (shades[0], shades[-1]) == (0, 1)


def test_only_the_signs_of_the_picture_are_explained() -> None:
    shown = texts(board(make(), make(defense="vanilla"))).replace("\n", " ")
    assert heat_map.SIGNS["✓"] in shown
    assert heat_map.SIGNS["✗"] not in shown


def test_a_dozen_defences_are_one_map() -> None:
    records = [record for record in of_kinds() if record.defense not in ("perfect_filter", "svd_5", "knn_5")]
    assert len(maps(board(*records))) == 1


def test_more_are_split_by_kind_with_plain_training_beside_each() -> None:
    figure = board(*of_kinds())
    shaping, filters = maps(figure)
    assert (shaping.get_title(loc="left"), filters.get_title(loc="left")) == (
        "gradient shaping",
        "filters, and the controls that bound them",
    )
    assert columns(shaping)[:2] == ["no defence", "clip to 8"]
    assert columns(filters)[0] == "no defence"
    assert len(columns(shaping)) == 1 + len(SHAPED)
    assert len(columns(filters)) == 1 + len(FILTERS) + 1
    assert "–" not in cells(figure)


def test_attacks_that_met_few_of_a_kind_have_a_map_without_the_other_columns() -> None:
    few = [record for record in of_kinds(["sota_10", "sota_40"]) if record.defense not in SHAPED[2:]]
    figure = board(*of_kinds(), *few)
    assert [len(columns(axes)) for axes in maps(figure)] == [1 + len(SHAPED), 3, 2 + len(FILTERS)]
    assert "–" not in cells(figure)
    assert rows(maps(figure)[1]) == ["data-dependent Steinhardt, 10 %", "data-dependent Steinhardt, 40 %"]


def test_defences_that_few_attacks_met_have_a_map_without_the_other_rows() -> None:
    more = [
        make(attack="label_flip_10", defense=defense, details={"defense_kind": "DP optimizer"})
        for defense in ("dp_adam_n1", "dp_adam_c4_a0.1")
    ]
    figure = board(*of_kinds(), *more)
    assert [len(columns(axes)) for axes in maps(figure)] == [1 + len(SHAPED), 3, 2 + len(FILTERS)]
    assert rows(maps(figure)[1]) == ["random label flips, 10 %"]


def test_attacks_on_plain_training_alone_stand_where_there_are_few_columns() -> None:
    figure = board(*of_kinds(), make(attack="watermark_a1_20", defense="vanilla"))
    assert "watermark, opacity 1, 20 %" in rows(maps(figure)[1])
    assert "watermark, opacity 1, 20 %" not in rows(maps(figure)[0])


def test_no_map_is_wider_than_a_page() -> None:
    records = [make(defense=f"dp_adam_c{norm}") for norm in range(1, 30)]
    figure = board(make(defense="vanilla"), *records)
    assert max(len(columns(axes)) for axes in maps(figure)) <= 13
    assert sum(len(columns(axes)) - 1 for axes in maps(figure)) == 29


def test_thresholds_are_not_needed() -> None:
    assert cells(board(make(thresholds=()), make(defense="vanilla", thresholds=(Threshold("rad", "<", 0.05),)))) == [
        "0.012\n✓",
        "0.012",
    ]


def test_what_ranks_no_defence_is_left_out() -> None:
    records = [*tradeoff(), gradients(), gradients(defense="dp_adam_c4"), clusters("sota_10"), clusters()]
    assert list(heat_map.pictures(records)) == []


def test_a_single_cell_is_no_map() -> None:
    assert list(heat_map.pictures([make()])) == []
