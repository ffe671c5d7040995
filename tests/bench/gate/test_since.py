"""What a page is told of an earlier run is what the gate finds of the metric that each case shows."""

from dataclasses import replace

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.gate.since import since
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.html import Change
from tests.bench.report.html.sample import seeded, trials
from tests.bench.sample import estimate, make, unmeasured

CHALLENGE = "c" * 64


def case(rad: float) -> Record:
    return seeded("label_flip_10", "dp_adam_c1", rad=rad)


def change(before: Record | None, after: Record | None) -> Change:
    runs = ([] if record is None else [record] for record in (before, after))
    [found] = since(*runs).changes.values()
    return found


def test_values_of_the_same_seeds_are_paired() -> None:
    # The seeds spread by 0.01 and all of them rise by 0.014.
    found = change(case(0.1), case(0.114))
    assert found.kind == "worse"
    assert found.difference is not None
    assert found.difference.value == pytest.approx(0.014)
    assert found.reason == "by seed"


def test_less_is_better() -> None:
    assert change(case(0.114), case(0.1)).kind == "better"


def test_what_changes_less_than_the_gate_minds_is_the_same() -> None:
    assert change(case(0.1), case(0.104)).kind == "same"


def test_without_an_interval_nothing_is_decided() -> None:
    single, other = (
        make(rad=Estimate(value, None, None, n=1), seeds=(0,), challenge=CHALLENGE) for value in (0.1, 0.5)
    )
    found = change(single, other)
    assert found.kind == "undecided"
    assert found.difference is not None
    assert found.difference.low is None


def test_equal_numbers_are_the_same() -> None:
    found = change(case(0.1), case(0.1))
    assert (found.kind, found.reason) == ("same", "the same numbers")


def test_cases_of_one_run_alone_are_new_or_missing() -> None:
    assert change(None, case(0.1)).kind == "new"
    assert change(case(0.1), None).kind == "missing"


def test_a_number_that_is_neither_good_nor_bad_is_not_gated() -> None:
    one, other = (
        make(metrics={"magnitude_ratio": estimate(value)}, thresholds=(), challenge=CHALLENGE) for value in (2.0, 9.0)
    )
    found = change(one, other)
    assert found.kind == "not gated"
    assert found.reason


@pytest.mark.parametrize(
    ("later", "kind"),
    [
        (replace(case(0.5), challenge="e" * 64), "not comparable"),
        (replace(case(0.5), dataset_fingerprint="e" * 64), "not comparable"),
        (unmeasured(Status.CRASHED, "it died"), "broken"),
        (unmeasured(Status.SKIPPED, "no data"), "unmeasured"),
    ],
)
def test_only_like_is_compared_with_like(later: Record, kind: str) -> None:
    earlier = case(0.1)
    found = change(earlier, replace(later, scale=earlier.scale, case=earlier.case))
    assert found.kind == kind
    assert found.reason


def test_another_machine_is_compared_when_it_is_asked_for() -> None:
    earlier = case(0.1)
    later = replace(case(0.2), environment={**earlier.environment, "processor": "another"})
    assert change(earlier, later).kind == "not comparable"
    [found] = since([earlier], [later], across_machines=True).changes.values()
    assert found.kind == "worse"


def test_several_protocols_each_by_its_own_metric() -> None:
    before, after = ([case(0.1), replace(trials([won] * 40), challenge=CHALLENGE)] for won in (0, 1))
    kinds = {key[1]: found.kind for key, found in since(before, after).changes.items()}
    assert kinds == {before[0].case: "same", before[1].case: "worse"}
