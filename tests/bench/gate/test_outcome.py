from collections.abc import Sequence

import pytest

from gradshape_bench.gate.outcome import Allowed, ExitStatus, outcome
from gradshape_bench.gate.rules import Rule
from gradshape_bench.records.record import Record, Status
from tests.bench.gate.sample import STEADY, WORSE, compared, record
from tests.bench.sample import unmeasured

OTHER = record(attack="other")
LOUD = record((0.05, 0.3, 0.1, 0.0, 0.25))


def status(base: Sequence[Record], new: Sequence[Record]) -> ExitStatus:
    return outcome(compared(base, new)).status


@pytest.mark.parametrize(
    ("after", "expected"), [(STEADY, ExitStatus.FINE), (WORSE, ExitStatus.REGRESSION), ((0.05,) * 5, ExitStatus.FINE)]
)
def test_status_is_what_became_of_the_case(after: tuple[float, ...], expected: ExitStatus) -> None:
    assert status([record(), OTHER], [record(after), OTHER]) is expected


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (Status.FAILED, ExitStatus.REGRESSION),
        (Status.CRASHED, ExitStatus.REGRESSION),
        (Status.DIVERGED, ExitStatus.REGRESSION),
        (Status.TIMEOUT, ExitStatus.REGRESSION),
        (Status.SKIPPED, ExitStatus.UNUSABLE),
    ],
)
def test_case_that_cannot_be_measured_any_more_is_never_fine(state: Status, expected: ExitStatus) -> None:
    assert status([record(), OTHER], [unmeasured(state, None), OTHER]) is expected


def test_missing_case_is_never_fine() -> None:
    assert status([record(), OTHER], [OTHER]) is ExitStatus.UNUSABLE


def test_case_that_cannot_be_compared_is_never_fine() -> None:
    assert status([record(), OTHER], [record(challenge="d" * 64), OTHER]) is ExitStatus.UNUSABLE


def test_no_case_in_common_is_never_fine() -> None:
    found = outcome(compared([], [OTHER]))
    assert found.status is ExitStatus.UNUSABLE
    assert found.reasons == ["nothing could be compared: 1 case new"]


def test_regression_weighs_more_than_what_is_unusable() -> None:
    found = outcome(compared([record(), OTHER], [record(WORSE)]))
    assert found.status is ExitStatus.REGRESSION
    assert len(found.reasons) == 2


def test_new_cases_are_fine() -> None:
    assert status([record()], [record(), OTHER]) is ExitStatus.FINE


def test_what_was_not_measured_before_either_is_fine() -> None:
    failed = unmeasured(Status.SKIPPED, "data: none", attack="other")
    assert status([record(), failed], [record(), failed]) is ExitStatus.FINE


@pytest.mark.parametrize(
    ("new", "allowed"),
    [([OTHER], Allowed.MISSING), ([record(challenge="d" * 64), OTHER], Allowed.NOT_COMPARABLE)],
)
def test_what_is_allowed_is_fine_as_long_as_something_is_compared(new: Sequence[Record], allowed: Allowed) -> None:
    assert outcome(compared([record(), OTHER], new), allowed=[allowed]).status is ExitStatus.FINE
    assert outcome(compared([record()], new), allowed=[allowed]).status is ExitStatus.UNUSABLE


def test_undecided_change_that_looks_worse_counts_when_strict() -> None:
    found = compared([record()], [LOUD])
    assert outcome(found).status is ExitStatus.FINE
    assert outcome(found, strict=True).status is ExitStatus.REGRESSION
    assert outcome(compared([LOUD], [record()]), strict=True).status is ExitStatus.FINE


def test_rule_that_nobody_could_apply_is_never_fine() -> None:
    rule = Rule("mse_ratio", absolute=0.1)
    rules = [Rule("rad", absolute=0.01), rule]
    found = compared([record()], [record()], rules)
    assert outcome(found).status is ExitStatus.FINE
    assert outcome(found, demanded=rules).reasons == ["mse_ratio:+0.1: no case that was compared has this metric"]


def test_broad_regression_counts() -> None:
    base = [record((0.1, 0.11, 0.09), attack=f"case_{place}") for place in range(40)]
    new = [
        record((0.15, 0.15, 0.15) if place % 3 else (0.12, 0.1, 0.08), attack=f"case_{place}") for place in range(40)
    ]
    found = outcome(compared(base, new))
    assert found.status is ExitStatus.REGRESSION
    assert "more seeds would tell" in found.reasons[0]
