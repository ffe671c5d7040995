from dataclasses import replace
from typing import Any

import pytest

from gradshape.metrics import mean_over_seeds, share_over_seeds
from gradshape_bench.gate.comparison import Change, ComparedCase, Kind
from gradshape_bench.gate.differences import Basis
from gradshape_bench.gate.rules import Rule, parse_rule
from gradshape_bench.records.record import Record, Status
from tests.bench.gate.sample import STEADY, WORSE, compared, record
from tests.bench.sample import unmeasured

BETTER = tuple(value - 0.05 for value in STEADY)
LOUD = (0.05, 0.3, 0.1, 0.0, 0.25)


def only(base: Record | None, new: Record | None, **options: Any) -> ComparedCase:
    (case,) = compared([base] if base else [], [new] if new else [], **options).cases
    return case


def change(base: Record, new: Record, *rules: Rule) -> Change:
    (found,) = only(base, new, rules=rules or (Rule("rad", absolute=0.01),)).changes
    return found


@pytest.mark.parametrize(
    ("after", "kind"),
    [
        (WORSE, Kind.WORSE),
        (BETTER, Kind.BETTER),
        (STEADY, Kind.SAME),
        (tuple(value + 0.001 for value in STEADY), Kind.SAME),
        (LOUD, Kind.UNDECIDED),
    ],
)
def test_kind_is_what_margin_and_interval_say(after: tuple[float, ...], kind: Kind) -> None:
    assert only(record(STEADY), record(after)).kind is kind


def test_sure_change_within_the_margin_is_the_same() -> None:
    after = tuple(value + 0.008 for value in STEADY)
    assert change(record(STEADY), record(after)).kind is Kind.SAME
    assert change(record(STEADY), record(after), Rule("rad", absolute=0.005)).kind is Kind.WORSE


def test_change_of_exactly_the_margin_does_not_count() -> None:
    after = tuple(value + 0.1 for value in STEADY)
    found = change(record(STEADY), record(after), Rule("rad", absolute=0.1))
    assert found.kind is not Kind.WORSE


def test_large_change_that_may_be_chance_is_undecided() -> None:
    found = change(record(STEADY), record(LOUD), Rule("rad", absolute=0.01))
    assert found.looks_worse
    assert found.kind is Kind.UNDECIDED


def test_accuracy_is_worse_when_it_falls() -> None:
    def of(values: tuple[float, ...]) -> Record:
        return record(None, more={"accuracy_clean": share_over_seeds(values)})

    rule = Rule("accuracy_clean", absolute=0.01)
    assert change(of(WORSE), of(STEADY), rule).kind is Kind.WORSE
    assert change(of(STEADY), of(WORSE), rule).kind is Kind.BETTER


def test_seeds_in_common_are_paired_whatever_their_order() -> None:
    # Seeds differ much, and each got worse by the same.
    base = record((0.1, 0.2, 0.3, 0.4, 0.5), seeds=(0, 1, 2, 3, 4))
    new = record((0.56, 0.45, 0.36, 0.25, 0.9), seeds=(4, 3, 2, 1, 9))
    found = change(base, new)
    assert found.difference is not None
    assert (found.difference.basis, found.difference.n) == (Basis.PAIRED_SEEDS, 4)
    assert found.difference.effect == pytest.approx(0.055)
    assert found.kind is Kind.WORSE


def test_without_seeds_in_common_nothing_is_paired() -> None:
    found = change(record(STEADY), record(WORSE, seeds=(5, 6, 7, 8, 9)))
    assert found.difference is not None
    assert found.difference.basis is Basis.SEEDS
    assert found.kind is Kind.WORSE


def test_metric_that_some_seeds_lack_is_not_paired() -> None:
    more = {"rad": mean_over_seeds((0.1, 0.2, 0.3))}
    lacking = record(None, more=more, seeds=(0, 1, 2, 3, 4))
    found = change(lacking, record(STEADY))
    assert found.difference is not None
    assert found.difference.basis is Basis.SEEDS


def test_same_seeds_with_the_same_values_are_the_same_to_the_last_digit() -> None:
    assert change(record(LOUD), record(LOUD)).identical
    assert not change(record(LOUD), record(LOUD, seeds=(5, 6, 7, 8, 9))).identical


def test_identical_metrics_cost_the_others_no_confidence() -> None:
    same = [record(LOUD, attack=f"same_{place}") for place in range(50)]
    found = compared([record(STEADY), *same], [record(WORSE), *same])
    assert (found.tested, found.level) == (1, 0.95)


def test_more_changes_need_wider_intervals() -> None:
    base = [record(LOUD, attack=f"case_{place}") for place in range(20)]
    new = [record(tuple(reversed(LOUD)), attack=f"case_{place}") for place in range(20)]
    assert compared(base, new).level > 0.99


TRIALS = [[row, 8] for row in range(20)]


@pytest.mark.parametrize(
    ("trials", "basis"),
    [
        ((TRIALS, TRIALS), Basis.PAIRED_TRIALS),
        ((TRIALS, TRIALS[::-1]), Basis.PAIRED_TRIALS),
        ((TRIALS, [[row, 7] for row in range(20)]), Basis.TRIALS),
        ((None, TRIALS), Basis.TRIALS),
        ((TRIALS[:19], TRIALS[:19]), Basis.TRIALS),
        ((TRIALS[:19] + TRIALS[:1], TRIALS[:19] + TRIALS[:1]), Basis.TRIALS),
    ],
)
def test_targets_are_paired_if_they_are_known_to_be_the_same(trials: tuple[Any, Any], basis: Basis) -> None:
    before, after = [0.0] * 20, [0.0] * 8 + [1.0] * 12
    base, new = (
        record(None, rates=rates, trials=listed) for rates, listed in zip((before, after), trials, strict=True)
    )
    found = change(base, new, Rule("success_rate", absolute=0.1))
    assert found.difference is not None
    assert found.difference.basis is basis
    assert found.kind is Kind.WORSE


def test_targets_are_paired_by_what_they_are() -> None:
    rates = [1.0] * 5 + [0.0] * 15
    base = record(None, rates=rates, trials=TRIALS)
    found = change(base, record(None, rates=rates[::-1], trials=TRIALS[::-1]), Rule("success_rate", absolute=0.1))
    assert found.difference is not None
    assert (found.difference.effect, found.difference.chance) == (0.0, 1.0)


def test_rate_over_no_target_says_nothing() -> None:
    empty = record(None, more={"success_rate": replace(record(rates=[1.0]).metrics["success_rate"], n=0, values=())})
    assert only(empty, empty).kind is Kind.UNGATED
    assert only(record(rates=[1.0, 0.0]), replace(empty, metrics={**record().metrics, **empty.metrics})).kind is (
        Kind.NOT_COMPARABLE
    )


def test_less_than_a_row_of_the_test_set_does_not_count() -> None:
    few = {"test_rows": 20}
    base, new = record((0.1,) * 5, details=few), record((0.12, 0.12, 0.13, 0.12, 0.13), details=few)
    assert change(base, new).margin == pytest.approx(0.05)
    assert change(base, new).kind is not Kind.WORSE


def test_single_seed_is_undecided() -> None:
    assert change(record((0.1,)), record((0.9,))).kind is Kind.UNDECIDED
    assert change(record((0.1,)), record((0.1,))).kind is Kind.SAME


def test_case_is_as_bad_as_its_worst_metric() -> None:
    def both(rad: tuple[float, ...], loss: tuple[float, ...]) -> Record:
        return record(rad, more={"utility_loss": mean_over_seeds(loss)})

    assert only(both(STEADY, WORSE), both(BETTER, WORSE)).kind is Kind.BETTER
    assert only(both(STEADY, STEADY), both(BETTER, WORSE)).kind is Kind.WORSE
    assert only(both(STEADY, STEADY), both(BETTER, LOUD)).kind is Kind.UNDECIDED


def test_case_of_one_run_only_is_missing_or_new() -> None:
    assert only(record(), None).kind is Kind.MISSING
    assert only(None, record()).kind is Kind.NEW


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (Status.FAILED, Kind.BROKEN),
        (Status.CRASHED, Kind.BROKEN),
        (Status.DIVERGED, Kind.BROKEN),
        (Status.TIMEOUT, Kind.BROKEN),
        (Status.SKIPPED, Kind.MISSING),
    ],
)
def test_case_that_is_no_longer_measured_says_why(status: Status, kind: Kind) -> None:
    case = only(record(), unmeasured(status, "no such thing"))
    assert (case.kind, case.reason) == (kind, f"{status.value}: no such thing")


def test_case_that_was_not_measured_before_is_new_or_stays_unmeasured() -> None:
    failed = unmeasured(Status.FAILED, "no such thing")
    assert only(failed, record()).kind is Kind.NEW
    assert only(failed, failed).kind is Kind.UNMEASURED
    assert only(None, failed).kind is Kind.UNMEASURED
    assert only(failed, None).kind is Kind.UNMEASURED


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"challenge": None}, "older version"),
        ({"challenge": "d" * 64}, "another challenge"),
        ({"dataset_fingerprint": "e" * 64}, "other rows"),
        ({"environment": {**record().environment, "torch": "9.9"}}, "measured elsewhere: torch 2.13.0, then 9.9"),
        ({"environment": {**record().environment, "platform": "Windows"}}, "measured elsewhere: platform Linux"),
        ({"environment": {}}, "measured elsewhere, perhaps: the record of NEW does not say where"),
    ],
)
def test_only_like_is_compared_with_like(fields: dict[str, Any], reason: str) -> None:
    for pair in ((record(), record(WORSE, **fields)), (record(WORSE, **fields), record())):
        case = only(*pair)
        assert case.kind is Kind.NOT_COMPARABLE
        assert reason.partition(":")[0] in (case.reason or "")
    # Both may lack it.
    if "environment" in fields:
        assert only(record(**fields), record(WORSE, environment={})).kind is Kind.NOT_COMPARABLE
    assert reason in (only(record(), record(WORSE, **fields)).reason or "")


def test_recipe_and_defense_may_differ_as_they_are_what_is_tested() -> None:
    assert only(record(), record(WORSE, fingerprint="e" * 64)).kind is Kind.WORSE


def test_commit_and_source_may_differ() -> None:
    elsewhere = {**record().environment, "commit": "fedcba9", "source": "abc", "python": "3.99"}
    assert only(record(), record(environment=elsewhere)).kind is Kind.SAME


def test_other_machines_are_compared_when_asked_for() -> None:
    elsewhere = record(WORSE, environment={**record().environment, "device": "cuda:0 (H200)"})
    assert only(record(), elsewhere, across_machines=True).kind is Kind.WORSE


def test_scales_never_meet() -> None:
    cases = compared([record()], [record(WORSE, scale="paper")]).cases
    assert [case.kind for case in cases] == [Kind.NEW, Kind.MISSING]


def test_metric_that_is_no_longer_measured_is_not_comparable() -> None:
    base = record(more={"utility_loss": mean_over_seeds(STEADY)})
    assert only(base, record()).kind is Kind.NOT_COMPARABLE


@pytest.mark.parametrize("value", [1e308, -1e308, 1e61])
def test_numbers_that_cannot_be_reckoned_with_are_not_comparable(value: float) -> None:
    huge = replace(record().metrics["rad"], value=value, values=(value, -value, 0.0, 0.0, 0.0))
    odd = replace(record(), metrics={"rad": huge})
    assert only(record(), odd).kind is only(odd, record()).kind is Kind.NOT_COMPARABLE


@pytest.mark.parametrize(("value", "n"), [(7.0, 5), (-0.5, 5), (0.5, -3), (0.5, 0)])
def test_rates_that_are_none_end_in_no_error(value: float, n: int) -> None:
    odd = replace(record(rates=[1.0, 0.0]).metrics["success_rate"], value=value, n=n)
    for kept in (odd, replace(odd, values=())):
        case = only(record(rates=[1.0, 0.0]), replace(record(), metrics={**record().metrics, "success_rate": kept}))
        assert case.kind in (Kind.UNDECIDED, Kind.NOT_COMPARABLE)


def test_case_without_a_metric_of_the_rules_is_said_to_be_without() -> None:
    base = record(None, more={"cosine_similarity": mean_over_seeds(STEADY)})
    assert only(base, base).kind is Kind.UNGATED
    assert only(base, base, rules=[parse_rule("cosine_similarity:+0.01")]).kind is Kind.SAME


def test_many_cases_that_look_worse_are_together_although_none_is_alone() -> None:
    base = [record((0.1, 0.11, 0.09), attack=f"case_{place}") for place in range(40)]
    # Two thirds of the cases are worse by what three seeds cannot prove among so many.
    new = [
        record((0.15, 0.15, 0.15) if place % 3 else (0.12, 0.1, 0.08), attack=f"case_{place}") for place in range(40)
    ]
    found = compared(base, new)
    assert found.counts[Kind.WORSE] == 0
    assert found.broadly_worse
    assert not compared(new, base).broadly_worse
