import dataclasses
import html
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import leaderboard, markdown
from gradshape_bench.report.cells import number
from gradshape_bench.report.leaderboard import render
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.verdict import Threshold
from tests.bench.sample import DEFENSES, INTENSITIES, estimate, grid, make, odd, unmeasured

RAD = "What the poison did (`rad`)"
TOTAL = "Both together (`rad_vs_vanilla`)"


def tables(page: str, caption: str) -> list[dict[str, dict[str, str]]]:
    """The tables below a caption: row, column, cell, without links."""
    found = []
    for part in page.split(f"\n{caption}")[1:]:
        lines = [line for line in part.split("\n\n")[1].splitlines() if line.startswith("|")]
        rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
        header, _, *body = rows
        assert {len(row) for row in rows} == {len(header)}
        found.append({row[0]: dict(zip(header[1:], (unlinked(cell) for cell in row[1:]), strict=True)) for row in body})
    return found


def unlinked(cell: str) -> str:
    return re.sub(r"\[([^]]*)\]\(#[^)]*\)", r"\1", cell)


def cell_of(*records: Record) -> str:
    """What the table shows for the first record."""
    first = records[0]
    return tables(render(records), RAD)[0][markdown.escape(first.attack)][markdown.escape(first.defense)]


@settings(max_examples=20)
@given(st.permutations(odd() + grid()[::7]))
def test_order_of_the_records_does_not_matter(records: list[Record]) -> None:
    assert render(records) == render(odd() + grid()[::7])


def test_comes_the_same_from_the_results_file() -> None:
    assert render([Record.from_json(record.to_json()) for record in odd()]) == render(odd())


@pytest.mark.parametrize("records", [odd(), grid(), []], ids=["odd", "grid", "empty"])
def test_anchors_are_valid_and_unique_and_links_resolve(records: list[Record]) -> None:
    page = render(records)
    anchors = re.findall(r'<a id="([^"]*)"></a>', page)
    assert len(anchors) == len(set(anchors))
    assert all(re.fullmatch(r"[a-z][a-z0-9-]*", anchor) for anchor in anchors)
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= set(anchors)


def test_same_case_at_two_scales_never_shares_a_table_or_an_anchor() -> None:
    page = render([make(scale="smoke", rad=0.03), make(scale="paper", rad=0.02)])
    assert page.index("## Paper scale") < page.index("## Smoke scale")
    assert [list(table["label_flip_10"].values())[1][:5] for table in tables(page, RAD)] == ["0.020", "0.030"]
    assert len(set(re.findall(r'id="(c-\w+)"', page))) == 2


@pytest.mark.parametrize("record", odd(), ids=lambda record: record.key)
def test_every_case_is_traceable(record: Record) -> None:
    page = render(odd())
    entry = page[page.index(f"**{markdown.escape(record.case)}**", page.index(f"## {record.scale.capitalize()} ")) :]
    entry = entry[: re.search(r"\n(?!  )", entry).start()]  # type: ignore[union-attr]
    assert f'pytest suites/ -k "[{record.case}]" --scale {record.scale}' in entry
    assert f"seeds {', '.join(map(str, record.seeds))}" in entry
    assert f"commit {record.environment.get('commit', 'unknown')}" in entry
    for judgement in record.judgements:
        assert f"`{judgement.threshold}`: {number(judgement.estimate.value, 4)}" in entry
        assert judgement.verdict.value in entry
    if record.expected_failure:
        assert f"expected failure: {markdown.escape(record.expected_failure)}" in entry
    if record.status is not Status.OK:
        assert f"{record.status.value}: " in entry


def test_every_cell_links_to_its_case() -> None:
    page = render(grid())
    entries = dict(re.findall(r'<a id="(c-\w+)"></a>\*\*(.*)\*\*', page))
    linked = re.findall(r"\[\d\.\d{3}\]\(#(c-\w+)\)", page)
    assert [entries[anchor] for anchor in linked] == [record.case for record in grid()]


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
        (unmeasured(Status.SKIPPED, "data: none"), "skipped"),
        (unmeasured(Status.FAILED, "none"), "failed"),
        (unmeasured(Status.CRASHED, "none"), "crashed"),
        (dataclasses.replace(make(thresholds=()), metrics={}), "no value"),
    ],
)
def test_cell(record: Record, text: str) -> None:
    assert cell_of(record) == text


def test_holes_are_named() -> None:
    page = render([make(attack="a_1", defense="vanilla"), make(attack="a_2", defense="dp_adam_c4")])
    for caption in (RAD, TOTAL):
        (table,) = tables(page, caption)
        assert (table["a_1"]["dp_adam_c4"], table["a_2"]["vanilla"]) == ("not run", "not run")


def test_cases_that_share_a_cell_are_both_shown() -> None:
    assert cell_of(make(case="one", rad=0.01), make(case="two", rad=0.02, defense="dp_adam_c4")) == (
        "0.010 [0.006, 0.014] ✓<br>0.020 [0.016, 0.024] ✓"
    )


def test_reasons_are_below_the_table_once_each() -> None:
    records = [unmeasured(Status.SKIPPED, "data: a|b", attack=f"a_{number}") for number in range(3)]
    page = render([*records, unmeasured(Status.CRASHED, None)])
    assert "- skipped, 3 cases: data: a\\|b\n" in page
    assert "- crashed, 1 case: no reason recorded\n" in page


def test_rows_and_columns_are_in_numeric_order() -> None:
    (table,) = tables(render(grid()), RAD)
    assert list(table) == [*(f"label_flip_{intensity}" for intensity in INTENSITIES), "*utility loss*"]
    assert list(table["label_flip_1"]) == ["poison rows", *DEFENSES]


def test_best_is_bold_where_the_total_is_smallest() -> None:
    row = [
        make(defense="vanilla", rad=0.02, loss=0.0),
        make(defense="dp_adam_c4", rad=0.001, loss=0.03),
        make(defense="dp_adam_c8", rad=0.01, loss=0.001),
    ]
    page = render(row)
    for caption in (RAD, TOTAL):
        cells = tables(page, caption)[0]["label_flip_10"]
        assert [name for name, cell in cells.items() if "**" in cell] == ["dp_adam_c8"]


def test_utility_loss_and_poison_rows_are_in_the_table() -> None:
    (table,) = tables(render(grid()), RAD)
    assert table["*utility loss*"]["dp_adam_c8"] == "0.002 [-0.002, 0.006]"
    assert table["label_flip_10"]["poison rows"] == "1,080"


def test_poison_rows_that_vary_are_a_range() -> None:
    (table,) = tables(render([make(details={"poison_rows": [7, 9, 8]})]), RAD)
    assert table["label_flip_10"]["poison rows"] == "7 to 9"


def test_setup_is_said_once_above_the_tables() -> None:
    assert (
        "10,800 training rows and 2,000 test rows (data dddddddddddd); adam, learning rate 0.01, batch size 300, "
        "40 epochs; accuracy of the best epoch; seeds 0, 1, 2, 3, 4."
    ) in render(grid())
    assert "not all run alike" not in render(grid())


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"details": {"epochs": 10}}, "epochs: 40 in 100 cases, but 10 in 1 case: [odd one](#"),
        ({"details": {"lr": 0.1}}, "lr: 0.01 in 100 cases, but 0.1 in 1 case: [odd one](#"),
        ({"seeds": (5, 6)}, "seeds: 0, 1, 2, 3, 4 in 100 cases, but 5, 6 in 1 case: [odd one](#"),
        ({"dataset_fingerprint": None}, "data: dddddddddddd in 100 cases, but unknown in 1 case: [odd one](#"),
        ({"loss": 0.5}, "utility loss of dp_adam_c4: its cases do not agree"),
    ],
)
def test_cases_that_were_run_differently_are_named(changes: dict[str, object], text: str) -> None:
    other = {"loss": 0.004, "dataset": "fashion_mnist_34", "scale": "paper", "attack": "a_1", "case": "odd one"}
    page = render([*grid(), make(**(other | changes))])  # type: ignore[arg-type]
    assert "not all run alike" in page
    assert text in page


def test_only_metrics_that_appear_are_defined() -> None:
    page = render([make()])
    for name in METRICS:
        assert (f"- `{name}`: {METRICS[name].definition}" in page) == (name in make().metrics)


@given(st.text(max_size=30))
def test_nothing_in_a_record_is_markup(text: str) -> None:
    records = [
        make(case=f"1{text}", attack=text, defense=text, dataset=text, details={"lr": text}, expected_failure=text),
        unmeasured(Status.FAILED, text, case="2", defense="vanilla", dataset=text, environment={"device": text}),
    ]
    page = render(records)
    page.encode()
    plain = re.sub(r"(`+)(?!`).*?(?<!`)\1(?!`)", "", re.sub(r"\\.", "", page))
    assert set(re.findall(r"<[^>]*>", plain)) <= {
        *re.findall(r'<a id="\w-\w+">', plain),
        *("</a>", "<details>", "</details>", "<summary>", "</summary>", "<br>"),
    }
    tables(page, RAD)


def test_environments_are_counted() -> None:
    page = render([make(attack=f"a_{place}", environment={"device": "cpu"}) for place in range(3)] + [make()])
    assert "- device cpu (3 cases)\n" in page
    assert "- commit 0123abc, device cpu, gradshape 0.1.0, torch 2.13.0 (1 case)\n" in page


def test_without_results_it_says_how_to_make_some() -> None:
    assert "pytest suites/" in render([])


def test_two_records_of_one_case_are_an_error() -> None:
    with pytest.raises(ValueError, match="records has several of case 'digits-lr-label_flip_10-dp_adam_c4'"):
        render([make(), make(seconds=2.0)])


def test_thresholds_of_any_metric_are_shown() -> None:
    page = render([make(thresholds=[Threshold("utility_loss", "<=", 0.02), Threshold("accuracy_clean", ">", 0.9)])])
    assert "`utility_loss <= 0.02`: 0.0100 [0.0060, 0.0140] (n=5): PASS" in html.unescape(page)
    assert "`accuracy_clean > 0.9`: 0.9500 [0.9460, 0.9540] (n=5): PASS" in html.unescape(page)


def test_write_is_the_page(tmp_path: Path) -> None:
    leaderboard.write(odd(), tmp_path / "new" / "page.md")
    assert (tmp_path / "new" / "page.md").read_bytes() == render(odd()).encode()


def test_what_a_filter_removed_and_took_is_told() -> None:
    removed = {"poison_removed": estimate(0.5, half=None), "clean_removed": estimate(0.0123, half=None)}
    filtered = make(defense="sphere_5", metrics={**make().metrics, **removed}, costs={"filtering": 0.25})
    clean = make(
        attack="no_attack",
        defense="sphere_5",
        metrics={**make().metrics, "clean_removed": estimate(0.05, half=None)},
    )
    page = render([filtered, clean, make(defense="vanilla")])
    [table] = tables(page, "What the filters removed, and their computing time for one training set")
    assert table["label_flip_10"] == {"sphere_5": "50 % of poison, 1.2 % of clean, 0.25 s"}
    assert table["no_attack"] == {"sphere_5": "5.0 % of clean"}


def test_pages_without_filters_have_no_table_of_them() -> None:
    assert "What the filters removed" not in render([make()])


def test_what_attacks_and_defences_know_is_told() -> None:
    told = make(details={"defense_knows": ["budget"], "attack_knows": ["training data", "features"]})
    page = render([told])
    assert "- dp_adam_c4 is told of: budget" in page
    assert "- label_flip_10 knows of: training data, features" in page


def test_a_certificate_stands_beside_what_was_reached() -> None:
    certified = {"certified_bound": estimate(0.5, half=None), "objective_reached": estimate(0.4321, half=None)}
    row = [make(defense=name, metrics={**make().metrics, **certified}) for name in ("vanilla", "dp_adam_c4")]
    [table] = tables(render(row), "Certificates")
    assert table == {"label_flip_10": {"certified bound": "0.5000", "objective reached": "0.4321"}}
    assert "Certificates" not in render([make()])
