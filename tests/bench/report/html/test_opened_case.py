"""What an opened case shows, of one run and of two, in Chromium."""

import json
from dataclasses import replace

from gradshape_bench.verdict import Verdict
from tests.bench.report.html.browser import Pages, count_shown, task
from tests.bench.report.html.sample import board, run, trials
from tests.bench.sample import make

# Columns of the first table: digits, with vanilla, dp_adam_c8, dp_adam_c1 and the defence of the failed case.
VANILLA = 1


def test_cell_opens_curve_seeds_thresholds_record_and_command(pages: Pages) -> None:
    page = pages.open(run())
    wanted = next(record for record in run() if (record.attack, record.defense) == ("label_flip_5", "dp_adam_c8"))
    task(page).locator("tbody tr", has_text="label_flip_5").locator("td").nth(1).click()
    panel = page.locator("#case")
    assert panel.locator("h2").inner_text() == "label_flip_5 against dp_adam_c8"
    # Two curves of four intensities, each with a band, whiskers, and the bound.
    curves = panel.locator("svg.chart").first
    assert curves.locator("g.series").count() == 2
    assert curves.locator("circle").count() == curves.locator(".whisker").count() == 8
    assert curves.locator(".bound").count() == 1
    seeds = panel.locator(".seeds li").all_inner_texts()
    assert seeds == [f"seed {s} {v:.4f}" for s, v in zip(wanted.seeds, wanted.metrics["rad"].values, strict=True)]
    assert "rad < 0.1" in panel.inner_text()
    assert "PASS" in panel.inner_text()
    assert panel.locator(".command code").inner_text() == f"gradshape rerun '{wanted.case}' --scale smoke"
    panel.locator("summary", has_text="The record as JSON").click()
    assert json.loads(panel.locator("pre").inner_text()) == json.loads(wanted.to_json())


def test_curve_takes_in_another_defence_and_another_metric(pages: Pages) -> None:
    page = pages.open(board())
    page.locator("#matrix .cell").first.click()
    curves = page.locator("#case svg.chart").first
    before = curves.locator("g.series").count()
    page.locator("#case .legend button", has_text="dp_adam_c1").click()
    assert curves.locator("g.series").count() == before + 1
    page.select_option("#case-metric", "accuracy_clean")
    assert "accuracy_clean" in str(curves.get_attribute("aria-label"))


def test_point_of_a_curve_opens_its_case(pages: Pages) -> None:
    page = pages.open(board())
    page.locator("#matrix .cell").first.click()
    page.locator("#case svg.chart").first.locator("g.series.own circle").last.click()
    assert page.inner_text("#case-title").startswith("label_flip_20")


def test_large_seeds_are_shown_to_the_last_digit(pages: Pages) -> None:
    seeds = (2**60 + 1, 2**60 + 3)
    page = pages.open([replace(make(), seeds=seeds)])
    page.locator("#matrix .cell").click()
    page.locator("#case summary", has_text="The record as JSON").click()
    assert json.loads(page.inner_text("#case pre"))["seeds"] == list(seeds)


def test_failed_case_says_why(pages: Pages) -> None:
    page = pages.open(run())
    page.locator("#matrix .cell", has_text="failed").click()
    assert "the loss is not finite" in page.inner_text("#case-body")


def test_rerun_command_is_quoted_for_a_shell(pages: Pages) -> None:
    page = pages.open([make(case="it's `here`")])
    page.locator("#matrix .cell").click()
    assert page.inner_text("#case .command code") == "gradshape rerun 'it'\\''s `here`' --scale smoke"


def test_command_is_copied(pages: Pages) -> None:
    page = pages.open(board())
    page.locator("#matrix .cell").first.click()
    page.locator("#case .command button").click()
    page.wait_for_selector("#said:has-text('copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#case .command code")


def test_two_runs_show_what_changed(pages: Pages) -> None:
    page = pages.open(board(worse=0.2)[1:], against=board())
    assert page.is_visible("#view-changes")
    kinds = page.locator("#change-kinds button").all_inner_texts()
    assert kinds == ["4 worse", "1 missing", "7 same"]
    first = page.locator("#change-list tbody tr[data-place='0']")
    assert first.locator("td").first.inner_text() == "worse"
    assert "+0.2" in first.inner_text()
    page.locator("#change-kinds button", has_text="worse").click()
    assert count_shown(page) == 4
    first.click()
    assert "Since the earlier run" in page.inner_text("#case-body")
    page.keyboard.press("Escape")
    page.get_by_role("tab", name="Matrix").click()
    page.select_option("#shown", "change")
    assert "+0.2" in page.locator("#matrix .cell").first.inner_text()


def test_a_case_that_is_gone_shows_its_earlier_record(pages: Pages) -> None:
    page = pages.open(board()[1:], against=board())
    page.locator("#change-list tr", has_text="missing").click()
    assert "no record now" in page.inner_text("#case-body")


def test_address_opens_a_case(pages: Pages) -> None:
    page = pages.open(board(), at="#case=smoke%2Fdigits-lr-label_flip_5-vanilla")
    assert page.inner_text("#case-title") == "label_flip_5 against vanilla"


def test_outcomes_of_trials_are_shown_as_such(pages: Pages) -> None:
    page = pages.open([trials([1, 0, 1, 1])])
    page.locator("#matrix .cell").click()
    assert page.locator("#case .seeds li").all_inner_texts() == [
        "trial 1 1.0000",
        "trial 2 0.0000",
        "trial 3 1.0000",
        "trial 4 1.0000",
    ]
    assert page.locator("#case circle.seed").count() == 4


def test_records_of_old_versions_say_that_single_values_are_not_known(pages: Pages) -> None:
    page = pages.open([make()])
    page.locator("#matrix .cell").click()
    assert "The values of 5 seeds are not recorded one by one" in page.inner_text("#case-body")


def test_reason_of_a_verdict_stands_beside_it(pages: Pages) -> None:
    [judgement] = make().judgements
    ruined = replace(judgement, verdict=Verdict.FAIL, met=False, reason="the clean model does not work")
    page = pages.open([replace(make(), judgements=(ruined,), planned_looks=2)])
    page.locator("#matrix .cell.is-fail").click()
    table = page.locator("#case .facts").first
    assert table.locator("tbody td").all_inner_texts()[2:] == ["FAIL", "the clean model does not work"]
    # Two looks share the chance of error.
    assert "97.5 % interval" in table.inner_text()
