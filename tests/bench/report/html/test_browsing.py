"""What a reader does with the page, in Chromium."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gradshape_bench.records.record import Record
from tests.bench.report.html.browser import Pages, column, count_shown, focused, task
from tests.bench.report.html.sample import HOSTILE, board, hostile, many, run, trials
from tests.bench.sample import make, odd

# Columns of the first table: digits, with vanilla, dp_adam_c8, dp_adam_c1 and the defence of the failed case.
VANILLA = 1


def test_matrix_shows_every_case(pages: Pages) -> None:
    page = pages.open(run())
    assert count_shown(page) == len(run())
    assert page.locator("#matrix .cell").count() == len(run())
    rad = [record.metrics["rad"].value for record in board() if record.defense == "vanilla"]
    assert [text.rstrip("✓✗?†") for text in column(page, VANILLA)[:4]] == [f"{v:.3f}" for v in rad]


@pytest.mark.parametrize("records", [odd(), [], [replace(trials([1.0]), judgements=())]], ids=["odd", "empty", "one"])
def test_any_records_make_a_page_without_complaints(pages: Pages, records: Sequence[Record]) -> None:
    page = pages.open(records)
    for view in ("List", "How to read", "Matrix"):
        page.get_by_role("tab", name=view).click()
    if records:
        for cell in page.locator("#matrix .cell").all():
            cell.click()
            page.locator("#case summary").first.click()
            page.keyboard.press("Escape")
    else:
        assert "no results yet" in page.inner_text("#nothing")


@pytest.mark.parametrize(
    ("name", "wish", "shown"),
    [
        ("task", "fashion_mnist_34 · lr", 12),
        ("protocol", "one_shot", 2),
        ("threat", "targeted", 2),
        ("attack", "label_flip_5", 6),
        ("attack", "~label_flip_#", 25),
        ("defense", "vanilla", 9),
        ("outcome", "unmeasured", 1),
        ("scale", "smoke", 27),
    ],
)
def test_filters_leave_what_they_say(pages: Pages, name: str, wish: str, shown: int) -> None:
    page = pages.open(run())
    page.select_option(f"#by-{name}", wish)
    assert count_shown(page) == shown
    page.click("#reset")
    assert count_shown(page) == len(run())


def test_verdicts_at_the_top_filter(pages: Pages) -> None:
    page = pages.open(run())
    chip = page.locator("#outcomes button", has_text="FAIL")
    chip.click()
    failed = [record for record in run() if record.verdict and record.verdict.value == "FAIL"]
    assert failed
    assert count_shown(page) == len(failed)
    assert page.locator("#outcomes button[aria-pressed=true]").inner_text().endswith("FAIL")


@pytest.mark.parametrize(("text", "shown"), [("fashion c8", 4), ("FINITE", 1), ("nothing like it", 0)])
def test_search_finds_ids_and_reasons(pages: Pages, text: str, shown: int) -> None:
    page = pages.open(run())
    page.keyboard.press("/")
    page.keyboard.type(text)
    assert count_shown(page) == shown
    assert page.is_visible("#nothing") == (shown == 0)
    page.keyboard.press("Escape")
    assert count_shown(page) == len(run())


def test_filters_are_in_the_address(pages: Pages) -> None:
    page = pages.open(run())
    page.select_option("#by-attack", "label_flip_5")
    page.reload()
    assert count_shown(page) == 6


def test_column_sorts_attacks_and_row_sorts_defences(pages: Pages) -> None:
    page = pages.open(board())
    before = column(page, 0)
    values = {label: float(text.rstrip("✓✗?†")) for label, text in zip(before, column(page, VANILLA), strict=True)}
    head = task(page).locator("thead th", has_text="vanilla")
    head.click()
    assert column(page, 0) == sorted(before, key=lambda label: -values[label])
    assert head.get_attribute("aria-sort") == "descending"
    head.click()
    assert column(page, 0) == sorted(before, key=lambda label: values[label])
    head.click()
    assert column(page, 0) == before
    task(page).locator("tbody th", has_text="label_flip_20").click()
    row = task(page).locator("tbody tr", has_text="label_flip_20").locator("td .value").all_inner_texts()
    assert row == sorted(row, reverse=True)


def test_list_sorts_by_any_column(pages: Pages) -> None:
    page = pages.open(run())
    page.get_by_role("tab", name="List").click()
    head = page.locator("#list thead button", has_text="value")
    place = page.locator("#list thead button").all_inner_texts().index("value") + 1
    for rising in (False, True):
        head.click()
        texts = page.locator(f"#list tbody td:nth-child({place})").all_inner_texts()
        numbers = [float(text) for text in texts if text]
        assert len(numbers) == len(run()) - 1
        assert numbers == sorted(numbers, reverse=not rising)
        # A case without a value comes last either way.
        assert texts[-1] == ""


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
    assert panel.locator(".command code").inner_text() == f"pytest suites/ -k '[{wanted.case}]' --scale smoke"
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
    assert page.inner_text("#case .command code") == "pytest suites/ -k '[it'\\''s `here`]' --scale smoke"


def test_keyboard_alone_reaches_a_case_and_comes_back(pages: Pages) -> None:
    page = pages.open(board())
    page.focus("#copy")
    # Past the list of tasks, each of them a link.
    for _ in range(page.locator("#tasks a").count() + 1):
        page.keyboard.press("Tab")
    for _ in range(3):
        if page.evaluate("document.activeElement.matches('td.cell')"):
            break
        page.keyboard.press("Tab")
    first = focused(page)
    assert page.evaluate("document.activeElement.matches('td.cell:focus-visible')")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowRight")
    there = focused(page)
    assert there != first
    page.keyboard.press("Enter")
    assert page.inner_text("#case-title") == "label_flip_5 against dp_adam_c8"
    page.keyboard.press("ArrowRight")
    assert page.inner_text("#case-title") != "label_flip_5 against dp_adam_c8"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Escape")
    assert not page.is_visible("#case")
    assert focused(page) == there
    page.keyboard.press("Home")
    assert focused(page) == "label_flip_5"
    page.keyboard.press("Control+Home")
    assert focused(page).startswith("attack")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    assert column(page, 0)[0] != "label_flip_1"
    # Sorting draws the table anew, and the focus stays where it was.
    assert focused(page).startswith("vanilla")


def test_one_cell_of_each_table_is_in_the_order_of_tab(pages: Pages) -> None:
    page = pages.open(run())
    grids = page.locator("#matrix table").count()
    assert page.locator("#matrix table [tabindex='0']").count() == grids > 1


def test_list_is_used_by_keys(pages: Pages) -> None:
    page = pages.open(run())
    page.get_by_role("tab", name="List").click()
    page.focus("#list table")
    page.keyboard.press("ArrowDown")
    wanted = page.locator("#list tr.active td").nth(5).inner_text()
    page.keyboard.press("Enter")
    assert page.inner_text("#case-title").startswith(wanted)
    page.keyboard.press("Escape")
    page.keyboard.press("End")
    assert page.locator("#list tr.active").get_attribute("data-place") == str(len(run()) - 1)


def test_views_are_changed_by_arrow_keys(pages: Pages) -> None:
    page = pages.open(run())
    page.focus("#tab-matrix")
    page.keyboard.press("ArrowRight")
    assert focused(page) == "List"
    assert page.is_visible("#view-list")
    page.keyboard.press("ArrowLeft")
    assert page.is_visible("#view-matrix")


def test_controls_have_names_and_tables_have_roles(pages: Pages) -> None:
    page = pages.open(run())
    for role in ("textbox", "searchbox", "combobox", "button", "tab", "checkbox"):
        for control in page.get_by_role(role).all():
            assert control.evaluate(
                "e => (e.ariaLabel || e.innerText || (e.labels && e.labels[0]?.innerText) || '').trim()"
            )
    assert page.get_by_role("grid").count() == page.locator("#matrix table").count()
    assert page.get_by_role("gridcell").count() >= len(run())
    task(page).locator(".cell").first.click()
    assert page.get_by_role("dialog", name="label_flip_1 against vanilla").count() == 1


def test_what_is_shown_is_copied_as_markdown(pages: Pages) -> None:
    page = pages.open(board())
    page.click("#copy")
    page.wait_for_selector("#said:has-text('copied')")
    text = page.evaluate("navigator.clipboard.readText()")
    title, _, *table = text.splitlines()
    assert title.startswith("**digits · lr · from_scratch**")
    assert table[0] == "| attack | vanilla | dp_adam_c8 | dp_adam_c1 |"
    assert len(table) == 2 + 4
    assert table[2].startswith("| label_flip_1 | 0.0")


def test_command_is_copied(pages: Pages) -> None:
    page = pages.open(board())
    page.locator("#matrix .cell").first.click()
    page.locator("#case .command button").click()
    page.wait_for_selector("#said:has-text('copied')")
    assert page.evaluate("navigator.clipboard.readText()") == page.inner_text("#case .command code")


def test_copying_works_without_the_clipboard_of_the_browser(pages: Pages) -> None:
    page = pages.open(board())
    page.evaluate(
        "Object.defineProperty(navigator, 'clipboard', {value: {writeText: () => Promise.reject(new Error())}})"
    )
    page.locator("#matrix .cell").first.click()
    page.locator("#case button", has_text="Copy id").click()
    page.wait_for_selector("#said:has-text('copied')")


def test_colours_are_those_of_the_system_or_of_choice(pages: Pages) -> None:
    page = pages.open(board())

    def brightness() -> int:
        colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(int(part) for part in colour.removeprefix("rgb(").removesuffix(")").split(","))

    page.emulate_media(color_scheme="light")
    light = brightness()
    page.emulate_media(color_scheme="dark")
    assert brightness() < 200 < light
    page.click("#theme")
    assert page.inner_text("#theme").endswith("Light")
    assert brightness() == light
    page.reload()
    assert brightness() == light
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    assert brightness() < 200


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


def test_nothing_that_a_record_says_is_run_or_drawn(pages: Pages) -> None:
    page = pages.open([hostile(), *board()])
    page.evaluate("() => { window.hit = () => { window.wasHit = true; }; }")
    page.locator("#matrix .cell.state").click()
    for summary in page.locator("#case summary").all():
        summary.click()
    # Line breaks of any kind are the browser's to show.
    assert HOSTILE[:40] in page.inner_text("#case-body")
    assert "__proto__" in page.inner_text("#case pre")
    page.keyboard.press("Escape")
    for view in ("List", "Matrix"):
        page.get_by_role("tab", name=view).click()
        page.click("#copy")
    assert page.locator("img").count() == 0
    assert page.evaluate("window.wasHit") is None
    assert page.evaluate("Object.prototype.constructor === Object")


def test_figures_are_shown_in_their_view(pages: Pages, tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    name = "heat_map-smoke-digits-lr-from_scratch"
    square = "<svg xmlns='http://www.w3.org/2000/svg' width='9' height='9'><rect width='9' height='9'/></svg>"
    (folder / f"{name}.svg").write_text(square, encoding="utf-8")
    page = pages.open(run())
    page.locator("#matrix button", has_text="1 figure").click()
    picture = page.locator("#gallery img")
    picture.wait_for()
    assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") == 9


def test_only_what_is_in_sight_is_drawn(pages: Pages) -> None:
    page = pages.open(many(3000, attacks=100, defenses=30))
    assert count_shown(page) == 3000
    assert page.locator("#matrix .cell").count() < 2500
    page.locator("#matrix .cell").first.focus()
    page.keyboard.press("Control+End")
    # Arrow keys draw the rows below as they come to them.
    for _ in range(100 // 8 + 1):
        page.keyboard.press("PageDown")
    page.keyboard.press("Home")
    assert focused(page) == "label_flip_100"
    page.get_by_role("tab", name="List").click()
    assert page.locator("#list tbody tr").count() < 100


def test_ten_thousand_cases_open_and_filter(pages: Pages, record_property: Callable[[str, object], None]) -> None:
    page = pages.open(many(10_000))
    page.wait_for_selector("#matrix .cell")
    page.fill("#by-text", "rows013 c7")
    assert count_shown(page) == 20
    took = page.evaluate(
        "Object.fromEntries(['gradshape-open', 'gradshape-filter'].map("
        "name => [name, performance.getEntriesByName(name).at(-1).duration]))"
    )
    for name, milliseconds in took.items():
        record_property(name, round(milliseconds))
        print(f"{name}: {milliseconds:.0f} ms")
