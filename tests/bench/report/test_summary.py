import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.summary import ROWS, WIDTH, summarize, tally
from tests.bench.sample import aimed, estimate, grid, make, odd, unmeasured


def words(line: str) -> str:
    return " ".join(line.split())


@settings(max_examples=20)
@given(st.permutations(odd()))
def test_order_of_the_records_does_not_matter(records: list[Record]) -> None:
    assert summarize(records) == summarize(odd())


def test_row_shows_vanilla_and_the_best_defence() -> None:
    lines = summarize(
        [
            make(defense="vanilla", rad=0.03, loss=0.0),
            make(defense="dp_adam_c4", rad=0.01, loss=0.0),
            make(defense="dp_adam_c1", rad=0.06, loss=0.0),
            make(defense="dp_adam_c2", rad=estimate(0.04, half=None)),
            unmeasured(Status.CRASHED, "none", defense="dp_adam_c8"),
        ]
    )
    assert words(lines[0]) == "data set, model attack vanilla best defence RAD vs vanilla pass/fail/?"
    assert words(lines[2]) == "digits, lr label_flip_10 0.030 dp_adam_c4 0.010 0.010 2/1/1"


@pytest.mark.parametrize(
    ("records", "row"),
    [
        ([make(defense="dp_adam_c4")], "digits, lr label_flip_10 - - - - 1/0/0"),
        ([dataclasses.replace(make(thresholds=()), metrics={})], "digits, lr label_flip_10 - - - - 0/0/0"),
        ([make(rad=-0.0001, defense="vanilla")], "digits, lr label_flip_10 0.000 - - - 1/0/0"),
    ],
    ids=["one defence", "no metrics", "no gain"],
)
def test_what_is_not_known_is_a_dash(records: list[Record], row: str) -> None:
    assert words(summarize(records)[2]) == row


def test_protocol_and_scale_are_named_only_where_they_differ() -> None:
    assert summarize([make()])[2].startswith("digits, lr  ")
    lines = summarize([make(), make(protocol="retrain", case="2"), make(scale="paper")])
    assert [line.split("  ")[0] for line in lines[2:5]] == [
        "digits, lr, from_scratch, paper",
        "digits, lr, from_scratch, smoke",
        "digits, lr, retrain, smoke",
    ]


def test_cases_that_were_not_measured_take_no_rows() -> None:
    assert summarize([unmeasured(Status.SKIPPED, "data: none")]) == ["1 case: 1 skipped (1 for missing data)"]


def test_long_tables_are_cut() -> None:
    lines = summarize(grid() + grid("digits"))
    assert len(lines) == 2 + ROWS + 2
    assert lines[-2] == "... and 5 more rows in the leaderboard"


def test_no_records_no_lines() -> None:
    assert summarize([]) == []


@given(st.lists(st.sampled_from(["a", "label_flip_40", "x" * 70, "a\nb\x1b[1m", "é" * 40]), min_size=4, max_size=4))
def test_every_line_fits(names: list[str]) -> None:
    dataset, model, attack, defense = names
    records = [
        make(dataset=dataset, model=model, attack=attack, defense="vanilla", rad=0.2),
        make(dataset=dataset, model=model, attack=attack, defense=defense, rad=0.1),
    ]
    lines = summarize(records)
    assert all(len(line) <= WIDTH and line.isprintable() for line in lines)


def test_tally_names_every_outcome() -> None:
    records = [
        make(),
        make(rad=0.049),
        make(rad=0.06),
        make(rad=0.06, expected_failure="why"),
        make(expected_failure="why"),
        unmeasured(Status.SKIPPED, "data: none"),
        unmeasured(Status.SKIPPED, "needs a GPU"),
        unmeasured(Status.FAILED, None),
        unmeasured(Status.CRASHED, None),
        unmeasured(Status.TIMEOUT, None),
    ]
    assert tally(records) == (
        "10 cases: 2 passed, 1 missed thresholds, 1 expected failure, 1 unexpected pass, "
        "2 skipped (1 for missing data), 1 failed, 1 crashed, 1 timeout; 1 inconclusive"
    )


def test_tally_leaves_out_what_did_not_happen() -> None:
    assert tally([make(), make(defense="vanilla")]) == "2 cases: 2 passed"


def test_cases_without_an_attack_are_only_counted() -> None:
    lines = summarize([make(protocol="utility", attack="no_attack")])
    assert lines == ["1 case: 1 passed"]


def test_experiments_on_targets_fit_and_a_rate_of_nothing_is_no_number() -> None:
    lines = summarize(
        [aimed(won=0, control=0, targets=0), aimed("dp_adam_c4_x2", protocol="multi_poison", poisons=2.0)]
    )
    assert max(map(len, lines)) <= WIDTH
    assert words(lines[2]).split()[-5:-1] == ["-", "-", "-", "-"]
