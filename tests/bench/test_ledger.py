from collections.abc import Mapping
from typing import Any

import pytest

from bench import ledger
from bench.ledger import Reading, Verdict, entries, reading, render
from bench.published import Published, published
from bench.record import Record
from gradshape.metrics import Estimate
from tests.bench.sample import estimate, make

FLIPPED = "fashion_mnist_34-lr-label_flip_40-vanilla"


def record(case: str, metrics: Mapping[str, Estimate], **fields: Any) -> Record:
    return make(case=case, scale=fields.pop("scale", "paper"), thresholds=(), metrics=dict(metrics), **fields)


def row(**fields: Any) -> Published:
    (found,) = (p for p in published() if all(getattr(p, name) == value for name, value in fields.items()))
    return found


def verdict_of(records: list[Record], **fields: Any) -> Verdict:
    wanted = row(**fields)
    return next(entry.verdict for entry in entries(records) if entry.row == wanted)


LABEL_FLIPS = {"experiment": "fig4", "attack": "random_lf", "intensity": "0.4", "optimizer": "adam", "metric": "rad"}


def test_every_published_number_has_one_entry() -> None:
    assert [entry.row for entry in entries([])] == list(published())
    assert len(published()) == 60


def test_without_results_nothing_is_reproduced() -> None:
    assert {entry.verdict for entry in entries([])} == {Verdict.NOT_RUN, Verdict.NOT_COMPARABLE}


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        (estimate(0.026, half=0.004), Verdict.REPRODUCED),  # inside the interval
        (estimate(0.024, half=0.001), Verdict.REPRODUCED),  # within ten rows of the test set
        (estimate(0.013, half=0.004), Verdict.DIFFERS),
        (estimate(0.030, half=None), Verdict.REPRODUCED),
    ],
)
def test_a_number_agrees_by_interval_or_tolerance(ours: Estimate, verdict: Verdict) -> None:
    assert verdict_of([record(FLIPPED, {"rad_vs_vanilla": ours})], **LABEL_FLIPS) is verdict


def test_smoke_scale_reproduces_nothing_but_is_shown() -> None:
    records = [record(FLIPPED, {"rad_vs_vanilla": estimate(0.028)}, scale="smoke")]
    assert verdict_of(records, **LABEL_FLIPS) is Verdict.NOT_RUN
    assert "measured at smoke scale only" in render(records)


def test_paper_scale_goes_before_smoke() -> None:
    records = [
        record(FLIPPED, {"rad_vs_vanilla": estimate(0.3)}, scale="smoke"),
        record(FLIPPED, {"rad_vs_vanilla": estimate(0.028)}),
    ]
    assert verdict_of(records, **LABEL_FLIPS) is Verdict.REPRODUCED


@pytest.mark.parametrize(("ours", "verdict"), [(0.25, Verdict.REPRODUCED), (0.35, Verdict.DIFFERS)])
def test_a_bound_is_a_bound(ours: float, verdict: Verdict) -> None:
    records = [record(f"{FLIPPED}-gradients", {"train_accuracy_poison": estimate(ours)})]
    assert verdict_of(records, experiment="fig11", attack="random_lf", value=0.3) is verdict


def test_a_statement_on_two_data_sets_needs_both() -> None:
    low, high = ({"accuracy_vanilla": estimate(value)} for value in (0.4, 0.8))
    first = record("cifar10-lr-label_flip_10-vanilla", low)
    both = [first, record("fashion_mnist-lr-label_flip_10-vanilla", high)]
    assert verdict_of(both, experiment="sec6.1", metric="accuracy") is Verdict.DIFFERS
    assert verdict_of([first], experiment="sec6.1", metric="accuracy") is Verdict.DIFFERS
    lower = [first, record("fashion_mnist-lr-label_flip_10-vanilla", low)]
    assert verdict_of(lower, experiment="sec6.1", metric="accuracy") is Verdict.REPRODUCED


def test_gradient_ratios_under_dp_are_not_comparable_but_shown() -> None:
    case = "fashion_mnist_34-lr-label_flip_40-dp_adam_c4-gradients"
    records = [record(case, {"magnitude_ratio": estimate(2.221)})]
    wanted = {"experiment": "fig4", "attack": "random_lf", "optimizer": "dp-adam", "metric": "magnitude_ratio"}
    assert verdict_of(records, **wanted) is Verdict.NOT_COMPARABLE
    assert "2.2210" in render(records)


def test_every_number_that_is_not_comparable_has_a_reason() -> None:
    assert all(entry.reason for entry in entries([]) if entry.verdict is Verdict.NOT_COMPARABLE)


def test_numbers_of_poison_rows_come_from_the_details() -> None:
    case = "fashion_mnist_34-lr-sota_40-vanilla-clusters"
    records = [record(case, {}, details={"poison_rows": [4320, 4320]})]
    assert verdict_of(records, experiment="fig8") is Verdict.REPRODUCED


def test_page_does_not_depend_on_the_order_of_records() -> None:
    records = [record(FLIPPED, {"rad_vs_vanilla": estimate(0.028)}), make(), make(scale="paper")]
    assert render(records) == render(records[::-1])


def test_records_of_the_ledger_are_known() -> None:
    assert ledger.concerns(record(FLIPPED, {}))
    assert not ledger.concerns(make())


def test_cases_of_readings_are_ids() -> None:
    cases = [case for how in map(reading, published()) if isinstance(how, Reading) for case in how.cases]
    assert cases
    assert not any(" " in case or "=" in case for case in cases)
