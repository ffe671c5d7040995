from collections.abc import Mapping
from typing import Any

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record
from gradshape_bench.report import ledger
from gradshape_bench.report.counterparts import counterparts
from gradshape_bench.report.ledger import Reproduction, entries, render
from gradshape_bench.report.published import PublishedNumber, published_numbers
from tests.bench.sample import estimate, make, rate

FLIPPED = "fashion_mnist_34-lr-label_flip_40-vanilla"


def record(case: str, metrics: Mapping[str, Estimate], **fields: Any) -> Record:
    return make(case=case, scale=fields.pop("scale", "paper"), thresholds=(), metrics=dict(metrics), **fields)


def row(**fields: Any) -> PublishedNumber:
    (found,) = (p for p in published_numbers() if all(getattr(p, name) == value for name, value in fields.items()))
    return found


def verdict_of(records: list[Record], **fields: Any) -> Reproduction:
    wanted = row(**fields)
    return next(entry.verdict for entry in entries(records) if entry.row == wanted)


LABEL_FLIPS = {"experiment": "fig4", "attack": "random_lf", "intensity": "0.4", "optimizer": "adam", "metric": "rad"}


def test_every_published_number_has_one_entry() -> None:
    assert [entry.row for entry in entries([])] == list(published_numbers())
    assert len(published_numbers()) == 60


def test_without_results_nothing_is_reproduced() -> None:
    assert {entry.verdict for entry in entries([])} == {Reproduction.NOT_RUN, Reproduction.NOT_COMPARABLE}


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (estimate(0.026, half=0.004), Reproduction.REPRODUCED),  # inside the interval
        (estimate(0.024, half=0.001), Reproduction.REPRODUCED),  # within ten rows of the test set
        (estimate(0.013, half=0.004), Reproduction.DIFFERS),
        (estimate(0.030, half=None), Reproduction.REPRODUCED),
    ],
)
def test_a_number_agrees_by_interval_or_tolerance(ours: Estimate, verdict: Reproduction) -> None:
    assert verdict_of([record(FLIPPED, {"rad_vs_vanilla": ours})], **LABEL_FLIPS) is verdict


def test_smoke_scale_reproduces_nothing_but_is_shown() -> None:
    records = [record(FLIPPED, {"rad_vs_vanilla": estimate(0.028)}, scale="smoke")]
    assert verdict_of(records, **LABEL_FLIPS) is Reproduction.NOT_RUN
    assert "measured at smoke scale only" in render(records)


def test_paper_scale_goes_before_smoke() -> None:
    records = [
        record(FLIPPED, {"rad_vs_vanilla": estimate(0.3)}, scale="smoke"),
        record(FLIPPED, {"rad_vs_vanilla": estimate(0.028)}),
    ]
    assert verdict_of(records, **LABEL_FLIPS) is Reproduction.REPRODUCED


@pytest.mark.parametrize(("ours", "verdict"), [(0.25, Reproduction.REPRODUCED), (0.35, Reproduction.DIFFERS)])
def test_a_bound_is_a_bound(ours: float, verdict: Reproduction) -> None:
    records = [record(f"{FLIPPED}-gradients", {"train_accuracy_poison": estimate(ours)})]
    assert verdict_of(records, experiment="fig11", attack="random_lf", value=0.3) is verdict


def test_a_statement_on_two_data_sets_needs_both() -> None:
    low, high = ({"accuracy_vanilla": estimate(value)} for value in (0.4, 0.8))
    first = record("cifar10-lr-label_flip_10-vanilla", low)
    both = [first, record("fashion_mnist-lr-label_flip_10-vanilla", high)]
    assert verdict_of(both, experiment="sec6.1", metric="accuracy") is Reproduction.DIFFERS
    assert verdict_of([first], experiment="sec6.1", metric="accuracy") is Reproduction.DIFFERS
    lower = [first, record("fashion_mnist-lr-label_flip_10-vanilla", low)]
    assert verdict_of(lower, experiment="sec6.1", metric="accuracy") is Reproduction.REPRODUCED


def test_gradient_ratios_under_dp_are_not_comparable_but_shown() -> None:
    case = "fashion_mnist_34-lr-label_flip_40-dp_adam_c4-gradients"
    records = [record(case, {"magnitude_ratio": estimate(2.221)})]
    wanted = {"experiment": "fig4", "attack": "random_lf", "optimizer": "dp-adam", "metric": "magnitude_ratio"}
    assert verdict_of(records, **wanted) is Reproduction.NOT_COMPARABLE
    assert "2.2210" in render(records)


def test_every_number_that_is_not_comparable_has_a_reason() -> None:
    assert all(entry.reason for entry in entries([]) if entry.verdict is Reproduction.NOT_COMPARABLE)


def test_numbers_of_poison_rows_come_from_the_details() -> None:
    case = "fashion_mnist_34-lr-sota_40-vanilla-clusters"
    records = [record(case, {}, details={"poison_rows": [4320, 4320]})]
    assert verdict_of(records, experiment="fig8") is Reproduction.REPRODUCED


def test_page_does_not_depend_on_the_order_of_records() -> None:
    records = [record(FLIPPED, {"rad_vs_vanilla": estimate(0.028)}), make(), make(scale="paper")]
    assert render(records) == render(records[::-1])


def test_records_of_the_ledger_are_known() -> None:
    assert ledger.concerns(record(FLIPPED, {}))
    assert not ledger.concerns(make())


def test_cases_of_readings_are_ids() -> None:
    patterns = [pattern for _, how in counterparts() for asked in how.cases for pattern in asked.patterns]
    assert patterns
    assert not any(" " in pattern or "=" in pattern for pattern in patterns)


ONE_SHOT = {"experiment": "fig5", "dataset": "purchase100"}
PLAIN, CLIPPED = ONE_SHOT | {"optimizer": "adam"}, ONE_SHOT | {"clip_norm": 0.1}
PURCHASE, STAND_IN = "purchase100-lr-poison_frogs_100", "purchase_synthetic-lr-poison_frogs_100"


def remark_of(records: list[Record], **fields: Any) -> str:
    wanted = row(**fields)
    return next(entry.reason for entry in entries(records) if entry.row == wanted)


def test_no_published_number_lacks_a_case() -> None:
    assert {entry.reason for entry in entries([]) if entry.verdict is Reproduction.NOT_COMPARABLE} == {
        "a criterion, not a measurement"
    }


@pytest.mark.parametrize(("won", "verdict"), [(34, Reproduction.REPRODUCED), (10, Reproduction.DIFFERS)])
def test_success_rates_are_compared_on_the_papers_data(won: int, verdict: Reproduction) -> None:
    records = [record(f"{PURCHASE}-vanilla-one_shot_3to4", {"success_rate": rate(won, 73)})]
    assert verdict_of(records, **PLAIN) is verdict


def test_a_stand_in_is_shown_and_not_comparable() -> None:
    records = [record(f"{STAND_IN}-vanilla-one_shot_3to4", {"success_rate": rate(34, 73)})]
    assert verdict_of(records, **PLAIN) is Reproduction.NOT_COMPARABLE
    assert "measured on the stand-in purchase_synthetic" in remark_of(records, **PLAIN)
    assert "0.4658 [0.35" in render(records)


def test_the_papers_data_go_before_the_stand_in() -> None:
    records = [
        record(f"{STAND_IN}-vanilla-one_shot_3to4", {"success_rate": rate(70, 73)}),
        record(f"{PURCHASE}-vanilla-one_shot", {"success_rate": rate(34, 73)}),
    ]
    assert verdict_of(records, **PLAIN) is Reproduction.REPRODUCED


def test_of_several_cases_the_closest_to_the_paper_counts() -> None:
    fewer = PURCHASE.removesuffix("100") + "20"
    records = [
        record(f"{PURCHASE}-vanilla-one_shot", {"success_rate": rate(1, 73)}),
        record(f"{fewer}-vanilla-one_shot_3to4", {"success_rate": rate(2, 73)}, attack="poison_frogs_20"),
        record(f"{PURCHASE}-vanilla-one_shot_3to4", {"success_rate": rate(34, 73)}, attack="poison_frogs_100"),
    ]
    for order in (records, records[::-1]):
        (entry,) = (entry for entry in entries(order) if entry.row == row(**PLAIN))
        assert [case for case, _ in entry.ours] == [records[-1].case]


@pytest.mark.parametrize(
    ("won", "words"),
    [(7, "at most half of that without DP, holds beside 0.4658"), (30, "does not hold beside 0.4658")],
)
def test_whether_the_papers_order_holds_is_said(won: int, words: str) -> None:
    records = [
        record(f"{STAND_IN}-vanilla-one_shot_3to4", {"success_rate": rate(34, 73)}),
        record(f"{STAND_IN}-dp_adam_c0.1_x2-one_shot_3to4", {"success_rate": rate(won, 73)}),
    ]
    assert words in remark_of(records, **CLIPPED)


@pytest.mark.parametrize("plain", [[], [rate(0, 73)], [rate(0, 0)]], ids=["missing", "nothing won", "nobody attacked"])
def test_without_success_there_is_no_order(plain: list[Estimate]) -> None:
    records = [record(f"{STAND_IN}-vanilla-one_shot_3to4", {"success_rate": found}) for found in plain]
    records.append(record(f"{STAND_IN}-dp_adam_c0.1_x2-one_shot_3to4", {"success_rate": rate(0, 73)}))
    assert "cannot be told" in remark_of(records, **CLIPPED)


def test_an_order_is_of_one_data_set_and_attack() -> None:
    records = [
        record(f"{PURCHASE}-vanilla-one_shot_3to4", {"success_rate": rate(34, 73)}),
        record(f"{STAND_IN}-dp_adam_c0.1_x2-one_shot_3to4", {"success_rate": rate(7, 73)}),
    ]
    assert "cannot be told" in remark_of(records, **CLIPPED)


def test_a_rate_of_no_target_reproduces_nothing() -> None:
    records = [record(f"{PURCHASE}-vanilla-one_shot_3to4", {"success_rate": rate(0, 0)})]
    assert verdict_of(records, **PLAIN) is Reproduction.NOT_COMPARABLE
    assert "no target could be attacked" in remark_of(records, **PLAIN)


def test_utility_loss_stands_for_the_drops_of_the_figures_on_targets() -> None:
    records = [record("fashion_mnist-mlp-poison_frogs_10-dp_sgd_c1_x2-one_shot", {"utility_loss": estimate(0.045)})]
    wanted = {"experiment": "fig5", "dataset": "fashion_mnist", "metric": "rad"}
    assert verdict_of(records, **wanted) is Reproduction.REPRODUCED


def test_smaller_experiments_say_how_small_they_were() -> None:
    details = {
        "targets": 15,
        "targets_without_poison": [3, 2],
        "budget": 10,
        "clean_epochs": 100,
        "epochs": 20,
    }
    case = "cifar10-cnn-poison_frogs_10-vanilla-one_shot"
    records = [record(case, {"success_rate": rate(10, 15)}, details=details)]
    assert remark_of(records, experiment="fig5", dataset="cifar10", optimizer="sgd").split("; ") == [
        "ours: 20 targets with 10 candidates, the paper's: 100 with 100",
        "ours: 100 + 20 epochs, the paper's: 100 + 50",
    ]


def test_one_shot_needs_one_poison_by_definition_once_it_is_run() -> None:
    wanted = {"experiment": "table3", "metric": "n_poisons", "attack": "cleanlabel_oneshot", "optimizer": "adam"}
    assert verdict_of([], **wanted) is Reproduction.NOT_RUN
    records = [record(f"{PURCHASE}-vanilla-one_shot_3to4", {"success_rate": rate(34, 73)})]
    assert verdict_of(records, **wanted) is Reproduction.REPRODUCED
    assert "by definition" in remark_of(records, **wanted)


def test_table_3_tells_the_scenarios_apart() -> None:
    dp, table = (
        "dp_adam_c4_s0.01_x2",
        {"experiment": "table3", "metric": "success_rate", "attack": "cleanlabel_oneshot"},
    )
    records = [
        record(f"{PURCHASE}-vanilla-one_shot_3to4", {"success_rate": rate(34, 73)}),
        record(f"{PURCHASE}-{dp}-one_shot_3to4", {"success_rate": rate(70, 78)}),
        record(f"{PURCHASE}-{dp}-one_shot_3to4_vanilla_to_defended", {"success_rate": rate(13, 73)}),
        record(f"{PURCHASE}-{dp}-one_shot_3to4_defended_to_vanilla", {"success_rate": rate(13, 78)}),
    ]
    for value in (0.4658, 0.1781, 0.1667):
        assert verdict_of(records, **table, value=value) is Reproduction.REPRODUCED


def test_where_no_target_was_won_no_number_of_poisons_is_known() -> None:
    wanted = {"experiment": "fig6", "metric": "n_poisons", "value": 27.5}
    records = [record(f"{PURCHASE}-dp_adam_c4_s0.4_x2-multi_poison_3to4", {"success_rate": rate(0, 73)})]
    assert verdict_of(records, **wanted) is Reproduction.NOT_COMPARABLE
    assert "no target was won" in remark_of(records, **wanted)


def test_numbers_that_no_released_file_gives_are_shown_beside_ours() -> None:
    wanted = {"experiment": "fig6", "metric": "n_poisons", "value": 5.43}
    records = [record(f"{PURCHASE}-dp_adam_c0.1_x2-multi_poison_3to4", {"poisons_needed": estimate(5.43)})]
    assert verdict_of(records, **wanted) is Reproduction.NOT_COMPARABLE
    assert "5.4300" in render(records)


def test_a_bound_is_met_as_it_is_printed() -> None:
    records = [record(f"{PURCHASE}-dp_adam_c8_x2-multi_poison_3to4", {"success_rate": rate(71, 75)})]
    assert verdict_of(records, experiment="fig6", metric="success_rate", clip_norm=8.0) is Reproduction.REPRODUCED


@pytest.mark.parametrize("optimizer", ["adam", "dp-adam"])
@pytest.mark.parametrize(
    ("metric", "name"), [("magnitude_ratio", "magnitude_ratio"), ("cosine_sd", "cosine_similarity_spread")]
)
def test_gradients_of_one_shot_attacks_are_shown_and_not_comparable(optimizer: str, metric: str, name: str) -> None:
    wanted = {"experiment": "fig7", "metric": metric, "optimizer": optimizer}
    records = [
        record(f"purchase100-lr-poison_frogs_1-{defense}-gradients_one_shot_3to4", {name: estimate(value)})
        for defense, value in (("vanilla", 2.125), ("dp_adam_c4_s0.1_x2", 1.125))
    ]
    assert verdict_of(records, **wanted) is Reproduction.NOT_COMPARABLE
    assert "the released analysis" in remark_of(records, **wanted)
    assert ("less than without DP, holds" in remark_of(records, **wanted)) == (optimizer == "dp-adam")


def test_order_of_records_on_targets_does_not_matter() -> None:
    records = [
        record(f"{data}-{defense}-one_shot_3to4", {"success_rate": rate(won, 73)})
        for data in (PURCHASE, STAND_IN)
        for won, defense in enumerate(("vanilla", "dp_adam_c0.1_x2", "dp_adam_c0.1"))
    ]
    assert render(records) == render(records[::-1])
