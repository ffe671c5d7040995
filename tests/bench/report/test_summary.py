import dataclasses
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.summary import ROWS, summarize, tally
from gradshape_bench.report.terminal import WIDTH, Tone, columns
from gradshape_bench.verdict import Threshold
from tests.bench.sample import aimed, estimate, grid, make, odd, unmeasured

HOLDS, BREAKS = (Threshold("rad", "<", 0.9),), (Threshold("rad", "<", 0.005),)


def words(line: str) -> str:
    return " ".join(line.split())


def texts(records: Sequence[Record], width: int = WIDTH) -> list[str]:
    return [line.text for line in summarize(records, width=width)]


def rows(records: Sequence[Record], width: int = 300) -> list[str]:
    """The rows of the table, with single spaces; a summary without a table has none."""
    lines = texts(records, width)
    if not lines[0].startswith("task"):
        return []
    end = next(place for place, line in enumerate(lines) if line.split(":")[0].endswith(("case", "cases", "missed")))
    return [words(line) for line in lines[2:end]]


@settings(max_examples=20)
@given(st.permutations(odd()))
def test_order_of_the_records_does_not_matter(records: list[Record]) -> None:
    assert rows(records) == rows(odd())


def test_row_shows_vanilla_and_the_best_defence_by_the_protocols_metric() -> None:
    records = [
        make(defense="vanilla", rad=0.03, loss=0.0),
        make(defense="dp_adam_c4", rad=0.01, loss=0.0),
        make(defense="dp_adam_c1", rad=0.06, loss=0.0),
        make(defense="dp_adam_c2", rad=estimate(0.04, half=None)),
        unmeasured(Status.CRASHED, "none", defense="dp_adam_c8"),
    ]
    assert words(texts(records)[0]) == "task attack metric vanilla best best defence pass/fail/?"
    assert rows(records) == ["digits, lr label_flip_10 rad 0.030 0.010 dp_adam_c4 2/1/1"]


def test_every_protocol_has_a_row_with_its_own_metric() -> None:
    door = make(protocol="backdoor", attack="badnets_1", metrics={"backdoor_rate": estimate(0.9)}, thresholds=())
    found = rows([make(defense="vanilla"), aimed(won=34, targets=73), dataclasses.replace(door, defense="vanilla")])
    assert {row.split()[-5] for row in found} == {"rad", "success_rate", "backdoor_rate"}


@pytest.mark.parametrize("metric", ["distinct_poisons", "magnitude_ratio", "boundary_length"])
def test_what_ranks_no_defence_has_no_row(metric: str) -> None:
    record = dataclasses.replace(make(thresholds=()), metrics={metric: estimate(114.0)})
    assert texts([record]) == ["1 case: 1 passed"]


@pytest.mark.parametrize(
    ("records", "row"),
    [
        ([make(defense="dp_adam_c4")], "digits, lr label_flip_10 rad - 0.012 dp_adam_c4 1/0/0"),
        ([make(rad=-0.0001, defense="vanilla")], "digits, lr label_flip_10 rad 0.000 - - 1/0/0"),
        ([aimed(won=0, control=0, targets=0)], "purchase_synthetic, lr poison_frogs_100 success_rate - - - 0/0/0"),
    ],
    ids=["one defence", "no defence", "no target"],
)
def test_what_is_not_known_is_a_dash(records: list[Record], row: str) -> None:
    assert rows(records) == [row]


def test_worst_rows_come_first() -> None:
    records = [
        make(attack="a_mild", rad=0.1, thresholds=HOLDS),
        make(attack="b_harmful", rad=0.5, thresholds=HOLDS),
        make(attack="c_missed", rad=0.02, thresholds=BREAKS),
        make(attack="d_open", rad=estimate(0.004), thresholds=BREAKS),
        make(attack="e_expected", rad=0.2, thresholds=BREAKS, expected_failure="known"),
    ]
    assert [row.split()[2] for row in rows(records)] == ["c_missed", "d_open", "b_harmful", "e_expected", "a_mild"]


def test_protocol_and_scale_are_named_only_where_they_differ() -> None:
    assert rows([make()])[0].startswith("digits, lr label_flip_10")
    found = rows([make(), make(protocol="retrain", case="2"), make(scale="paper")])
    assert sorted(row.split(" label")[0] for row in found) == [
        "digits, lr, from_scratch, paper",
        "digits, lr, from_scratch, smoke",
        "digits, lr, retrain, smoke",
    ]


def test_cases_that_were_not_measured_take_no_rows() -> None:
    assert texts([unmeasured(Status.SKIPPED, "data: none")]) == ["1 case: 1 skipped (1 for missing data)"]


def test_long_tables_are_cut() -> None:
    lines = texts(grid() + grid("digits"), 200)
    assert lines[2 + ROWS] == "... and 5 more rows in the leaderboard"


def test_no_records_no_lines() -> None:
    assert summarize([]) == []


@given(
    st.lists(
        st.sampled_from(["a", "label_flip_40", "x" * 70, "a\nb\x1b[1m", "é" * 40, "数据"]), min_size=4, max_size=4
    ),
    st.integers(20, 200),
)
def test_every_line_fits(names: list[str], width: int) -> None:
    dataset, model, attack, defense = names
    records = [
        make(dataset=dataset, model=model, attack=attack, defense="vanilla", rad=0.2),
        make(dataset=dataset, model=model, attack=attack, defense=defense, rad=0.1),
        unmeasured(Status.FAILED, f"{dataset} " * 100),
    ]
    lines = texts(records, width)
    assert all(columns(line) <= width and line.isprintable() for line in lines)


LONG = [
    make(dataset="fashion_mnist_34", model="residual_8", protocol=protocol, attack=attack, defense=defense, rad=rad)
    for protocol, attack in (("backdoor_of_patches", "badnets_10"), ("backdoor_of_pixels", "badnets_20"))
    for defense, rad in (("vanilla", 0.04), ("dp_adam_c4_s1e-07", 0.01))
]


@pytest.mark.parametrize("width", [60, 80, 200])
def test_names_are_whole_at_any_width(width: int) -> None:
    shown = words(" ".join(texts(LONG, width)))
    for protocol, attack in (("backdoor_of_patches", "badnets_10"), ("backdoor_of_pixels", "badnets_20")):
        named = f"fashion_mnist_34, residual_8, {protocol}"
        assert f"{named} {attack}" in shown or f"{named}: {attack}" in shown
    assert "dp_adam_c4_s1e-07" in shown


def test_rows_of_two_lines_have_a_header_that_says_what_the_numbers_are() -> None:
    narrow, wide = (words(" ".join(texts(LONG, width))) for width in (60, 200))
    assert narrow.startswith("task: attack")
    assert narrow.count("(passed/failed/inconclusive)") == 1
    assert "inconclusive" not in wide


def test_missed_thresholds_are_named_with_their_reason() -> None:
    record = make(rad=0.2, attack="label_flip_40")
    ruined = dataclasses.replace(record.judgements[0], reason="the clean model does not work")
    lines = summarize([make(), dataclasses.replace(record, judgements=(ruined,))], width=300)
    [line] = [line for line in lines if line.text.startswith("missed: ")]
    assert line.text == (
        f"missed: {record.case}: the clean model does not work: FAIL, whatever rad < 0.05: "
        "measured 0.2000 [0.1960, 0.2040] (n=5)"
    )
    assert line.tone is Tone.BAD


def test_expected_failures_are_not_among_the_missed() -> None:
    assert not any(line.startswith("missed") for line in texts([make(rad=0.2, expected_failure="known")]))


def test_the_farthest_from_its_bound_is_named_first_and_not_all_are() -> None:
    records = [make(rad=0.1 + 0.01 * place, attack=f"label_flip_{place}") for place in range(12)]
    missed = [line for line in texts(records, 200) if line.startswith(("missed", "..."))]
    assert "label_flip_11-" in missed[0]
    assert missed[-1] == "... and 2 more missed thresholds"


def test_reasons_of_failures_stand_once_with_their_first_case() -> None:
    records = [unmeasured(Status.FAILED, "attack.py:3: ValueError: k=0", case=f"case_{place}") for place in range(3)]
    assert "failed: attack.py:3: ValueError: k=0 (case_0, and 2 more)" in texts(records)


def test_added_seeds_are_counted() -> None:
    grown = make(seeds=range(6), looks=(3, 6), planned_looks=3)
    assert "seeds: 3 seeds added to 1 case while verdicts were inconclusive" in texts([grown, make(looks=(5,))])


def test_jobs_from_the_cache_are_counted() -> None:
    lines = texts([make(jobs=12, cached_jobs=6), make(jobs=1_000, cached_jobs=10)])
    assert "jobs: 16 of 1,012 from the cache; one that several cases share counts for each" in lines


@pytest.mark.parametrize(
    ("record", "tone"),
    [
        (make(), Tone.GOOD),
        (make(rad=0.049), Tone.UNSURE),
        (make(rad=0.2), Tone.BAD),
        (unmeasured(Status.CRASHED, "why"), Tone.BAD),
        (unmeasured(Status.SKIPPED, "why"), Tone.UNSURE),
        (make(rad=0.2, expected_failure="known"), Tone.GOOD),
    ],
)
def test_tone_of_the_tally_is_that_of_the_worst(record: Record, tone: Tone) -> None:
    [line] = [line for line in summarize([record, make(case="other")]) if line.text.startswith("2 cases")]
    assert line.tone is tone


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
    assert texts([make(protocol="utility", attack="no_attack")]) == ["1 case: 1 passed"]
