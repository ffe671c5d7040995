import re
from dataclasses import replace
from pathlib import Path
from time import process_time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import leaderboard, markdown
from gradshape_bench.report.leaderboard import LARGEST, MARK, render
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.verdict import Threshold, Verdict, judge
from tests.bench.report.board.reading import RAD, TOTAL, broken_links, merged, tables, task_page
from tests.bench.report.board.sample import measured
from tests.bench.sample import DEFENSES, INTENSITIES, aimed, estimate, grid, make, odd, unmeasured

MANY = [
    make(attack=f"a{place}_{number}", defense=defense, details={"defense_kind": "DP optimizer"})
    for place in range(40)
    for number in (1, 2)
    for defense in ("vanilla", *(f"d{n}" for n in range(30)))
]


def cell_of(*records: Record) -> str:
    """What the matrix shows for the first record."""
    first = records[0]
    return merged(tables(task_page(list(records)), RAD))[markdown.escape(first.attack)][markdown.escape(first.defense)]


@settings(max_examples=20)
@given(st.permutations(odd() + grid()[::7]))
def test_order_of_the_records_does_not_matter(records: list[Record]) -> None:
    assert render(records) == render(odd() + grid()[::7])


def test_comes_the_same_from_the_results_file() -> None:
    assert render([Record.from_json(record.to_json()) for record in odd()]) == render(odd())


@pytest.mark.parametrize(
    "records", [odd(), grid(), [], [*grid(), aimed(), aimed("x")], MANY], ids=["odd", "grid", "empty", "aimed", "many"]
)
def test_links_resolve(records: list[Record]) -> None:
    assert broken_links(render(records, stem="my board"), beside={"reproduction.md"}) == []


def test_every_page_is_linked_from_the_overview_or_a_part_of_one() -> None:
    pages = render([*grid(), *odd(), aimed()])
    linked = {f"leaderboard/{name}" for name in re.findall(r"\(leaderboard/([^)]*)\)", pages["leaderboard.md"])}
    assert linked == set(pages) - {"leaderboard.md"}


def test_no_page_is_too_large_and_what_goes_on_elsewhere_is_linked() -> None:
    pages = render(MANY)
    assert all(len(text.encode()) <= LARGEST for text in pages.values())
    assert {"leaderboard/smoke-digits-lr.md", "leaderboard/smoke-digits-lr-2.md"} <= set(pages)
    assert "Parts: [1](smoke-digits-lr.md) · [2](smoke-digits-lr-2.md)" in pages["leaderboard/smoke-digits-lr-2.md"]
    shown = "".join(pages.values())
    assert all(f"| {record.attack} " in shown for record in MANY)
    assert all(f"| {record.defense} " in shown for record in MANY)


def test_tables_are_no_wider_than_a_page() -> None:
    page = task_page(grid())
    assert max(map(len, page.splitlines())) < 250
    assert max(line.count("|") for line in page.splitlines() if line.startswith("| label_flip")) <= 10


def test_same_case_at_two_scales_never_shares_a_page() -> None:
    pages = render([make(scale="smoke", rad=0.03), make(scale="paper", rad=0.02)])
    found = {name: tables(text, RAD) for name, text in pages.items() if tables(text, RAD)}
    assert {name: row["dp_adam_c4"][:5] for name, [table] in found.items() for row in table.values()} == {
        "leaderboard/paper-digits-lr.md": "0.020",
        "leaderboard/smoke-digits-lr.md": "0.030",
    }


@pytest.mark.parametrize("record", odd(), ids=lambda record: record.key)
def test_every_case_can_be_looked_up(record: Record) -> None:
    ours = [one for one in odd() if (one.scale, one.dataset) == (record.scale, record.dataset)]
    page = task_page(ours)
    assert "gradshape show " in page
    assert "gradshape rerun " in page
    pattern = re.search(r"`+gradshape show '?(.*?)'?`+\n", page)
    assert pattern is not None
    assert pattern[1].replace("ATTACK", record.attack).replace("DEFENCE", record.defense) == record.case


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (make(rad=0.012), "0.012 [0.008, 0.016] ✓"),
        (make(rad=estimate(0.012, half=None)), "0.012 ✓?"),
        (make(rad=estimate(0.06, half=None)), "0.060 ✗?"),
        (make(rad=0.06), "0.060 [0.056, 0.064] ✗"),
        (make(rad=0.049), "0.049 [0.045, 0.053] ✓?"),
        (make(rad=0.051), "0.051 [0.047, 0.055] ✗?"),
        (make(rad=0.06, expected_failure="why"), "0.060 [0.056, 0.064] ✗†"),
        (make(rad=0.01, expected_failure="why"), "0.010 [0.006, 0.014] ✓†"),
        (make(rad=0.01, thresholds=()), "0.010 [0.006, 0.014]"),
        (make(rad=Estimate(-0.0004, -0.0005, -0.0001, n=5)), "0.000 [-0.001, 0.000] ✓"),
        (make(rad=0.012, details={"worst_attack": "a_b"}), "0.012 [0.008, 0.016] ✓ by a_b"),
        (unmeasured(Status.SKIPPED, "data: none"), "skipped"),
        (unmeasured(Status.FAILED, "none"), "failed"),
        (unmeasured(Status.CRASHED, "none"), "crashed"),
        (replace(make(thresholds=()), metrics={}), "no value"),
    ],
)
def test_cell(record: Record, text: str) -> None:
    if record.status is Status.OK and record.metrics:
        assert cell_of(record) == text
    else:
        # The row of a table is shown if another of its cells has something to show.
        assert cell_of(record, make(defense="dp_adam_c2")) == text


def test_why_a_small_number_fails_is_said() -> None:
    ruined = make(rad=-0.064)
    [judgement] = ruined.judgements
    assert judgement.reason is not None
    assert cell_of(ruined) == "-0.064 [-0.068, -0.060] ✗!"
    assert f"- dp_adam_c4, 1 case: {markdown.escape(judgement.reason)}" in task_page([ruined])


def test_an_open_verdict_is_counted_in_the_overview() -> None:
    left_open = make(rad=0.049)
    assert left_open.verdict is Verdict.INCONCLUSIVE
    [table] = tables(render([left_open, make(attack="a_1", rad=0.2)])["leaderboard.md"], "## Tasks")
    [row] = table.values()
    assert (row["measured"], row["missed"], row["open"]) == ("2", "1", "1")


def test_holes_are_named() -> None:
    page = task_page([make(attack="a_1", defense="vanilla"), make(attack="a_2", defense="dp_adam_c4")])
    for caption in (RAD, TOTAL):
        table = merged(tables(page, caption))
        assert table["a_2"] == {"vanilla": "not run", "dp_adam_c4": table["a_2"]["dp_adam_c4"]}


def test_cases_that_share_a_cell_are_both_shown() -> None:
    assert cell_of(make(case="one", rad=0.01), make(case="two", rad=0.02)) == (
        "0.010 [0.006, 0.014] ✓<br>0.020 [0.016, 0.024] ✓"
    )


def test_reasons_are_below_the_tables_once_each() -> None:
    records = [unmeasured(Status.SKIPPED, "data: a|b", attack=f"a_{number}") for number in range(3)]
    page = task_page([*records, unmeasured(Status.CRASHED, None)])
    assert "- skipped, 3 cases: data: a\\|b\n" in page
    assert "- crashed, 1 case: no reason recorded\n" in page


def test_an_expected_failure_names_the_file_of_its_case() -> None:
    known = [make(attack=f"a_{number}", expected_failure="why (this file)", test="my/test_x.py") for number in range(2)]
    page = task_page([*known, make(attack="a_2", expected_failure="why (this file)")])
    assert "- 2 cases of `my/test_x.py`: why (this file)\n" in page
    assert "- 1 case: why (this file)\n" in page


def test_a_metric_with_a_threshold_that_no_table_shows_has_one_of_its_own() -> None:
    held = (Threshold("my_gap", "<", 0.2), Threshold("my_gap", ">", -1))
    metrics = {"my_gap": estimate(0.1), "mine_too": estimate(0.5)}
    judgements = tuple(judge(one, metrics) for one in held)
    own = replace(make(defense="vanilla"), metrics=metrics, judgements=judgements, protocol="mine")
    other = unmeasured(Status.CRASHED, "none", defense="dp_adam_c4", protocol="mine")
    page = task_page([own, other])
    [table] = tables(page, "### Held to a threshold: `my_gap` (\\< 0.2, \\> -1)")
    assert table == {"label_flip_10": {"vanilla": "0.100 [0.096, 0.104] ✓", "dp_adam_c4": "crashed"}}
    assert RAD not in page
    assert "mine_too" not in page


def test_a_metric_beside_the_protocols_own_is_judged_apart_from_it() -> None:
    metrics = {**make(rad=0.2).metrics, "my_gap": estimate(0.1)}
    held = (Threshold("rad", "<", 0.05), Threshold("my_gap", "<", 0.2))
    judgements = tuple(judge(one, metrics) for one in held)
    page = task_page([replace(make(), metrics=metrics, judgements=judgements, expected_failure="why")])
    assert "0.200 [0.196, 0.204] ✗†" in page.split("### Held to a threshold")[0]
    assert "0.100 [0.096, 0.104] ✓ |" in page.split("### Held to a threshold")[1]


@pytest.mark.parametrize("metric", ["rad", "rad_vs_vanilla", "utility_loss", "poison_removed"])
def test_a_metric_that_another_table_shows_has_none_of_its_own(metric: str) -> None:
    record = make()
    record = replace(
        record, metrics={**record.metrics, "poison_removed": estimate(0.1), "clean_removed": estimate(0.1)}
    )
    judgement = judge(Threshold(metric, "<", 0.2), record.metrics)
    assert "Held to a threshold" not in task_page([replace(record, judgements=(judgement,))])


def test_rows_and_columns_are_in_numeric_order() -> None:
    first, *others = tables(task_page(grid()), RAD)
    assert list(first) == [f"label_flip_{intensity}" for intensity in INTENSITIES]
    columns = [list(table["label_flip_1"]) for table in (first, *others)]
    assert all(names[0] == "vanilla" for names in columns)
    assert [name for names in columns for name in names[1:]] == list(DEFENSES)[1:]


def test_kinds_of_defences_have_tables_of_their_own() -> None:
    kinds = {
        "vanilla": "none",
        "dp_adam_c4": "DP optimizer",
        "sphere_5": "outlier removal",
        "perfect_filter": "control",
    }
    found = tables(task_page([make(defense=name, details={"defense_kind": kind}) for name, kind in kinds.items()]), RAD)
    assert [list(table["label_flip_10"]) for table in found] == [
        ["vanilla", "dp_adam_c4"],
        ["vanilla", "sphere_5"],
        ["vanilla", "perfect_filter"],
    ]


def test_best_is_bold_where_the_total_is_smallest() -> None:
    row = [
        make(defense="vanilla", rad=0.02, loss=0.0),
        make(defense="dp_adam_c4", rad=0.001, loss=0.03),
        make(defense="dp_adam_c8", rad=0.01, loss=0.001),
    ]
    for caption in (RAD, TOTAL):
        shown = merged(tables(task_page(row), caption))["label_flip_10"]
        assert [name for name, cell in shown.items() if "**" in cell] == ["dp_adam_c8"]


def test_a_defence_that_its_trusted_rows_beat_is_marked_and_never_bold() -> None:
    row = [measured("vanilla", 0.2, loss=0.0), measured("dp_adam_c4", 0.1), measured("roni", 0.05, trusted=0.04)]
    shown = merged(tables(task_page(row), RAD))["sota_10"]
    assert [name for name, cell in shown.items() if "**" in cell] == ["dp_adam_c4"]
    assert [name for name, cell in shown.items() if cell.endswith("§")] == ["roni"]


def test_what_a_defence_costs_and_is_told_is_in_one_table() -> None:
    told = {"defense_knows": ["training data", "clean rows"], "defense_kind": "outlier removal"}
    page = task_page(
        [measured("roni", 0.1, trusted=0.3, details=told, costs={"filtering": 0.25, "training": 1.5}), make()]
    )
    table = merged(tables(page, "### Defences"))
    assert table["roni"] == {
        "kind": "outlier removal",
        "told: training data": "●",
        "told: clean rows": "●",
        "utility_loss ↓": "0.010 [0.010, 0.010]",
        "trusted rows alone ↓": "0.300 [0.297, 0.303]",
        "filtering, s": "0.25",
        "training, s": "1.5",
    }


def test_what_an_attack_knows_and_adds_is_in_one_table() -> None:
    knows = {"attack_knows": ["training data", "features"], "attack_control": "label_flip_10"}
    page = task_page([make(attack="sota_10", details=knows, costs={"crafting": 2.0}), make(details={"budget": 0})])
    table = merged(tables(page, "### Attacks"))
    assert table["sota_10"] == {
        "poison rows": "1,080 (10 %)",
        "training data": "●",
        "features": "●",
        "must beat": "label_flip_10",
        "crafting, s": "2",
    }


def test_setup_is_said_once_above_the_tables() -> None:
    said = task_page(grid()).replace("\n", " ")
    assert (
        "10,800 training rows and 2,000 test rows (data dddddddddddd); adam, learning rate 0.01, batch size 300, "
        "40 epochs; accuracy of the best epoch; seeds 0, 1, 2, 3, 4."
    ) in said
    assert "not all run alike" not in said


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"details": {"epochs": 10}}, "epochs: 40 in 100 cases, but 10 in 1 case: odd one"),
        ({"details": {"lr": 0.1}}, "lr: 0.01 in 100 cases, but 0.1 in 1 case: odd one"),
        ({"seeds": (5, 6)}, "seeds: 0, 1, 2, 3, 4 in 100 cases, but 5, 6 in 1 case: odd one"),
        ({"dataset_fingerprint": None}, "data: dddddddddddd in 100 cases, but unknown in 1 case: odd one"),
    ],
)
def test_cases_that_were_run_differently_are_named(changes: dict[str, object], text: str) -> None:
    other = {"loss": 0.004, "dataset": "fashion_mnist_34", "scale": "paper", "attack": "a_1", "case": "odd one"}
    page = task_page([*grid(), make(**(other | changes))])  # type: ignore[arg-type]
    assert "not all run alike" in page
    assert text in page


def test_only_metrics_that_appear_are_defined() -> None:
    page = render([make()])["leaderboard/legend.md"]
    for name in METRICS:
        assert (METRICS[name].definition in page) == (name in make().metrics)


def test_the_legend_says_each_label_in_words() -> None:
    records = [make(attack="badnets_s3_1", defense="dp_adam_c4_s0.1"), make(attack="label_flip_10", defense="sphere_5")]
    found = merged(tables(render(records)["leaderboard/legend.md"], "## Labels"))
    assert {label: row["in words"] for label, row in found.items()} == {
        "badnets_s3_1": "BadNets patch, 3 × 3 pixels, 1 %",
        "label_flip_10": "random label flips, 10 %",
        "dp_adam_c4_s0.1": "clip to 4, noise 0.1",
        "sphere_5": "sphere filter, 5 %",
        "digits": "ten digits",
    }


def test_a_label_of_the_users_own_is_in_no_table_of_words() -> None:
    page = render([make(attack="mine_10", defense="theirs", dataset="rows")])["leaderboard/legend.md"]
    assert tables(page, "## Labels") == []


@given(st.text(max_size=30))
def test_nothing_in_a_record_is_markup(text: str) -> None:
    records = [
        make(case=f"1{text}", attack=text, defense=text, dataset=text, details={"lr": text}, expected_failure=text),
        unmeasured(Status.FAILED, text, case="2", defense="vanilla", dataset=text, environment={"device": text}),
        make(case="3", attack=text, defense="vanilla", dataset=text, environment={"commit": text}),
    ]
    for page in render(records).values():
        page.encode()
        plain = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", re.sub(r"\\.", "", page))
        assert set(re.findall(r"<[^>]*>", plain)) <= {MARK, "<br>"}
        tables(page, RAD)


@given(st.text(max_size=12), st.text(max_size=12))
def test_labels_of_any_kind_make_pages_of_their_own(one: str, other: str) -> None:
    names = render([make(dataset=one, case="1"), make(dataset=other, case="2")])
    assert all(re.fullmatch(r"leaderboard(/[A-Za-z0-9_.-]+)?\.md", name) for name in names)
    assert len([name for name in names if name.startswith("leaderboard/smoke-")]) == len({one, other})


def test_environments_are_counted() -> None:
    records = [make(attack=f"a_{place}", environment={"device": "cpu"}) for place in range(3)] + [make()]
    page = render(records)["leaderboard/legend.md"]
    assert "- device cpu (3 cases)\n" in page
    assert "- commit 0123abc, device cpu, gradshape 0.1.0, torch 2.13.0 (1 case)\n" in page


def test_without_results_it_says_how_to_make_some() -> None:
    assert "pytest suites/" in render([])["leaderboard.md"]


def test_two_records_of_one_case_are_an_error() -> None:
    with pytest.raises(ValueError, match="records has several of case 'digits-lr-label_flip_10-dp_adam_c4'"):
        render([make(), make(seconds=2.0)])


def test_figures_of_a_task_are_linked() -> None:
    pages = render(
        grid(),
        figures=[
            "heat_map-paper-fashion_mnist_34-lr-from_scratch.png",
            "heat_map-paper-fashion_mnist_34-lr-from_scratch.svg",
            "heat_map-paper-fashion_mnist-lr-from_scratch.png",
        ],
    )
    page = pages["leaderboard/paper-fashion_mnist_34-lr.md"]
    assert re.findall(r"\[([^]]*)\]\((../figures[^)]*)\)", page) == [
        ("heat map, from scratch", "../figures/heat_map-paper-fashion_mnist_34-lr-from_scratch.png")
    ]


def test_write_makes_the_pages(tmp_path: Path) -> None:
    leaderboard.write(odd(), tmp_path / "new" / "page.md")
    for name, text in render(odd(), stem="page").items():
        assert (tmp_path / "new" / name).read_bytes() == text.encode()


def test_write_removes_pages_that_are_no_longer_needed_and_nothing_else(tmp_path: Path) -> None:
    overview = tmp_path / "leaderboard.md"
    leaderboard.write([make(), make(dataset="other")], overview)
    (tmp_path / "leaderboard" / "notes.md").write_text("# Mine", encoding="utf-8")
    (tmp_path / "leaderboard" / "smoke-other-lr.txt").write_text(MARK, encoding="utf-8")
    leaderboard.write([make()], overview)
    assert {path.name for path in (tmp_path / "leaderboard").iterdir()} >= {"notes.md", "smoke-other-lr.txt"}
    assert not (tmp_path / "leaderboard" / "smoke-other-lr.md").exists()
    assert (tmp_path / "leaderboard" / "smoke-digits-lr.md").exists()


def test_an_empty_board_has_no_pages_left(tmp_path: Path) -> None:
    overview = tmp_path / "leaderboard.md"
    leaderboard.write([make()], overview)
    leaderboard.write([], overview)
    assert list((tmp_path / "leaderboard").iterdir()) == []


def test_what_a_filter_removed_is_told() -> None:
    removed = {"poison_removed": estimate(0.5, half=None), "clean_removed": estimate(0.0123, half=None)}
    filtered = make(defense="sphere_5", metrics={**make().metrics, **removed}, costs={"filtering": 0.25})
    clean = make(
        attack="no_attack",
        defense="sphere_5",
        metrics={**make().metrics, "clean_removed": estimate(0.05, half=None)},
    )
    page = task_page([filtered, clean, make(defense="vanilla")])
    table = merged(tables(page, "### What the filters removed"))
    assert table["label_flip_10"]["sphere_5"] == "50 % of poison, 1.2 % of clean"
    assert table["no_attack"]["sphere_5"] == "5.0 % of clean"


def test_pages_without_filters_have_no_table_of_them() -> None:
    assert "What the filters removed" not in task_page([make()])


def test_a_certificate_stands_beside_what_was_reached() -> None:
    certified = {"certified_bound": estimate(0.5, half=None), "objective_reached": estimate(0.4321, half=None)}
    row = [make(defense=name, metrics={**make().metrics, **certified}) for name in ("vanilla", "dp_adam_c4")]
    [table] = tables(task_page(row), "### Certificates")
    assert table == {"label_flip_10": {"certified bound": "0.5000", "objective reached": "0.4321"}}
    assert "Certificates" not in task_page([make()])


def test_the_overview_shows_plain_training_among_many_defences() -> None:
    row = [measured(f"d{place}", 0.01 * place) for place in range(1, 10)]
    page = render([*row, measured("vanilla", 0.5, loss=0.0)])["leaderboard.md"]
    [table] = tables(page, "## [Indiscriminate")
    assert [cells["defence"].strip("*") for cells in table.values()] == [*(f"d{n}" for n in range(1, 5)), "vanilla"]
    assert "5 more are ranked." in page


def test_the_overview_fits_a_screen() -> None:
    page = render([*grid(), aimed(), aimed("dp_adam_c4_x2", won=7)])["leaderboard.md"]
    before_tasks = page[: page.index("## Tasks")]
    assert before_tasks.count("\n") <= 50
    assert max(map(len, before_tasks.splitlines())) <= 160


def test_a_judgement_is_that_of_the_threshold() -> None:
    record = make(thresholds=[Threshold("utility_loss", "<=", 0.001)])
    assert judge(record.judgements[0].threshold, record.metrics).verdict is Verdict.FAIL
    assert cell_of(record).endswith("✗")


def test_four_times_the_records_take_about_four_times_as_long() -> None:
    def seconds(copies: int) -> float:
        records = [record for copy in range(copies) for record in grid(dataset=f"d{copy}")]
        begun = process_time()
        render(records)
        return process_time() - begun

    seconds(1)
    assert min(seconds(20) for _ in range(2)) < 8 * max(seconds(5) for _ in range(2))
