"""Who is ranked, in which order, and who may be called best."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.board.ranking import rankings
from gradshape_bench.report.board.ranking_blocks import ground, left_out, separation, table, verdict
from gradshape_bench.report.board.standings import Apart, Ranking
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.threats import Threat
from tests.bench.report.board.sample import measured
from tests.bench.sample import aimed, estimate, make, unmeasured

ROW = [measured("vanilla", 0.2, loss=0.0), measured("dp_adam_c4", 0.1), measured("dp_adam_c1", 0.05, loss=0.04)]


def only(records: list[Record]) -> Ranking:
    [ranking] = rankings(RecordGroup.of(records))
    return ranking


def order(ranking: Ranking) -> list[str]:
    return [standing.defense for standing in ranking.standings]


def everything(ranking: Ranking) -> str:
    return "\n".join([table(ranking), separation(ranking), verdict(ranking), ground(ranking), *left_out(ranking)])


def test_a_constructed_example() -> None:
    ranking = only(ROW)
    assert order(ranking) == ["dp_adam_c1", "dp_adam_c4", "vanilla"]
    assert [standing.ranks for standing in ranking.standings] == [(1, 1), (2, 2), (3, 3)]
    assert [standing.score for standing in ranking.standings] == pytest.approx([0.05, 0.1, 0.2])
    assert [standing.cost for standing in ranking.standings] == pytest.approx([0.04, 0.01, 0.0])
    assert [standing.against_vanilla for standing in ranking.standings] == [Apart.BETTER, Apart.BETTER, None]
    assert separation(ranking) == "All neighbours are separated."
    assert verdict(ranking) == "Best by the point values: dp_adam_c1, and separated from plain training."


def test_neighbours_within_the_noise_are_named_as_not_separated() -> None:
    near = measured("dp_adam_c2", 0.1005, noise=(0.02, -0.03, 0.01, -0.01, 0.01))
    ranking = only([*ROW, near])
    assert separation(ranking) == "Neighbours that are *not* separated: dp_adam_c4 / dp_adam_c2."
    assert dict(zip(order(ranking), ranking.separated, strict=False)) == {
        "dp_adam_c1": True,
        "dp_adam_c4": False,
        "dp_adam_c2": True,
    }


def test_the_worst_attack_of_a_budget_counts_and_budgets_count_alike() -> None:
    records = [
        measured(defense, value, attack=attack, rows=rows)
        for attack, rows, values in (("a_1", 10, (0.1, 0.3)), ("b_1", 10, (0.2, 0.1)), ("a_2", 20, (0.6, 0.4)))
        for defense, value in zip(("vanilla", "dp_adam_c4"), values, strict=True)
    ]
    scores = {standing.defense: standing.score for standing in only(records).standings}
    assert scores == pytest.approx({"vanilla": 0.4, "dp_adam_c4": 0.35})
    assert {one.defense: one.worst.attack for one in only(records).standings} == {"vanilla": "a_2", "dp_adam_c4": "a_2"}


def test_a_defence_that_lacks_a_cell_is_listed_apart_and_has_no_mean() -> None:
    more = [measured(record.defense, 0.3, attack="sota_20", rows=200) for record in ROW]
    easy = measured("dp_adam_c8", 0.0001)
    ranking = only([*ROW, *more, easy])
    assert "dp_adam_c8" not in order(ranking)
    assert {label: [attack for _, attack in cells] for label, cells in ranking.absent.items()} == {
        "dp_adam_c8": ["sota_20"]
    }
    assert "dp_adam_c8 (not run on sota_20 of digits, lr)" in everything(ranking)


@pytest.mark.parametrize("status", [Status.FAILED, Status.DIVERGED, Status.SKIPPED])
def test_a_cell_without_a_measurement_is_missing(status: Status) -> None:
    more = [measured(record.defense, 0.3, attack="sota_20", rows=200) for record in ROW]
    failed = unmeasured(status, "why", attack="sota_20", defense="dp_adam_c8")
    assert list(only([*ROW, *more, measured("dp_adam_c8", 0.0001), failed]).absent) == ["dp_adam_c8"]


def test_controls_are_never_ranked() -> None:
    ranking = only([*ROW, measured("perfect_filter", 0.0001)])
    assert "perfect_filter" not in order(ranking)
    assert ranking.controls == pytest.approx({"perfect_filter": 0.0001})
    assert "Controls, never ranked: perfect\\_filter" in everything(ranking).replace("t_f", "t\\_f")


def test_a_defence_that_does_not_beat_its_trusted_rows_is_never_the_best() -> None:
    trusting = measured("roni", 0.01, trusted=0.009, kind="outlier removal")
    ranking = only([*ROW, trusting])
    assert order(ranking)[0] == "roni"
    assert ranking.best is not None
    assert ranking.best.defense == "dp_adam_c1"
    assert "| roni §" in table(ranking)
    assert "**dp_adam_c1**" in table(ranking)
    assert "trusted rows alone" in everything(ranking)


def test_one_that_beats_its_trusted_rows_may_be() -> None:
    best = only([*ROW, measured("roni", 0.01, trusted=0.02, kind="outlier removal")]).best
    assert best is not None
    assert best.defense == "roni"


def weak(attack: str) -> list[Record]:
    """An attack whose control does as much to plain training."""
    told = {"attack_control": "label_flip_10"}
    values = {"vanilla": 0.01, "dp_adam_c4": 0.5, "dp_adam_c1": 0.6}
    return [measured(name, value, attack=attack, details=told) for name, value in values.items()]


def test_attacks_no_better_than_random_flips_enter_no_ranking() -> None:
    flips = [measured("vanilla", 0.02, attack="label_flip_10", loss=0.0)]
    ranking = only([*ROW, *weak("sota_11"), *flips])
    assert order(ranking) == order(only(ROW))
    assert list(ranking.tasks.values()) == [["sota_10"]]
    assert list(ranking.weak.values()) == [["label_flip_10", "sota_11"]]


def test_there_is_no_ranking_of_attacks_that_are_all_weak() -> None:
    assert rankings(RecordGroup.of([*weak("a_10"), measured("vanilla", 0.02, attack="label_flip_10", loss=0.0)])) == []


def test_rows_without_poison_enter_no_ranking() -> None:
    clean = [measured(record.defense, 0.9, attack="sota_0", rows=0) for record in ROW]
    assert only([*ROW, *clean]).cells == 1


def test_scales_threats_and_kinds_of_victims_are_ranked_apart() -> None:
    fitted = [replace(record, model="svm", details={**record.details, "estimator": "svm()"}) for record in ROW]
    paper = [replace(record, scale="paper") for record in ROW]
    shots = [aimed(), aimed("dp_adam_c4_x2", won=7)]
    found = rankings(RecordGroup.of([*ROW, *fitted, *paper, *shots]))
    assert [(one.field.scale, one.field.threat, one.field.fitted) for one in found] == [
        ("paper", Threat.INDISCRIMINATE, False),
        ("smoke", Threat.INDISCRIMINATE, False),
        ("smoke", Threat.INDISCRIMINATE, True),
        ("smoke", Threat.TARGETED, False),
    ]


def test_where_the_score_does_not_show_the_cost_a_model_that_does_not_work_is_not_ranked() -> None:
    shots = [aimed(), aimed("dp_adam_c4_x2", won=7), aimed("dp_adam_c0.1_x2", won=0, loss=0.6)]
    ranking = only(shots)
    assert order(ranking) == ["dp_adam_c4_x2", "vanilla"]
    assert list(ranking.broken) == ["dp_adam_c0.1_x2"]
    assert "their clean models do not work: dp_adam_c0.1_x2 (the defence costs too much" in everything(ranking)


def test_no_target_is_no_cell() -> None:
    shots = [aimed(), aimed("dp_adam_c4_x2", won=7), aimed("dp_adam_c1_x2", won=0, targets=0, control=0)]
    assert order(only(shots)) == ["dp_adam_c4_x2", "vanilla"]


def test_single_seeds_are_ranked_without_intervals() -> None:
    single = [
        make(defense=name, rad=estimate(value, half=None), loss=estimate(0.0, half=None))
        for name, value in (("vanilla", 0.2), ("dp_adam_c4", 0.1))
    ]
    ranking = only(single)
    assert order(ranking) == ["dp_adam_c4", "vanilla"]
    assert {standing.ranks for standing in ranking.standings} == {None}
    assert "Not separated: any neighbours" in separation(ranking)


def test_old_records_are_ranked_by_their_intervals_unpaired() -> None:
    def old(value: Estimate) -> Estimate:
        return Estimate(value.value, value.low, value.high, n=value.n)

    records = [replace(record, metrics={name: old(value) for name, value in record.metrics.items()}) for record in ROW]
    ranking = only(records)
    assert order(ranking) == order(only(ROW))
    assert not ranking.paired
    assert only(ROW).paired


def test_cases_of_the_worst_case_do_not_count_twice() -> None:
    declared = [replace(record, protocol="worst_case", attack="worst_of_2") for record in ROW]
    assert list(only([*ROW, *declared]).tasks) == [("digits", "lr", "from_scratch")]
    assert list(only(declared).tasks) == [("digits", "lr", "worst_case")]


@given(st.permutations([*ROW, *weak("sota_11"), measured("perfect_filter", 0.0), measured("dp_adam_c8", 0.1)]))
def test_the_order_of_the_records_does_not_matter(records: list[Record]) -> None:
    assert everything(only(records)) == everything(only(sorted(records, key=lambda record: record.case)))


def test_a_best_that_is_plain_training_is_said_in_words() -> None:
    assert verdict(only([measured("vanilla", 0.01, loss=0.0), measured("dp_adam_c4", 0.1)])) == (
        "No defence does better than plain training here, by the point values."
    )
