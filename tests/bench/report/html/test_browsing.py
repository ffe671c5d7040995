"""The matrix, the list and what chooses from them, in Chromium."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gradshape_bench.records.record import Record
from gradshape_bench.report import markdown
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
    for _ in range(20):
        page.reload()
        if brightness() == light:
            break
        # What a page remembers reaches the browser's other processes a little later.
        page.wait_for_timeout(250)
    assert brightness() == light
    page.click("#theme")
    page.emulate_media(color_scheme="light")
    assert brightness() < 200


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


def test_copied_labels_are_no_markup(pages: Pages) -> None:
    label = "label_flip_10 | _x_ **b** <i> [l](m) `c` $d$ a_ _ö"
    page = pages.open([make(attack=label)])
    page.locator(".task button", has_text="Copy table").click()
    page.wait_for_selector("#said:has-text('copied')")
    assert f"| {markdown.escape(label)} |" in page.evaluate("navigator.clipboard.readText()")


def test_matrix_shows_costs_and_totals_and_hides_intervals(pages: Pages) -> None:
    page = pages.open(board())
    for shown, text in (("cost", "0.0"), ("total", "0.0")):
        page.select_option("#shown", shown)
        metric = {"cost": "utility_loss", "total": "rad_vs_vanilla"}[shown]
        wanted = [f"{r.metrics[metric].value:.3f}" for r in board() if r.defense == "dp_adam_c1"]
        assert wanted[0].startswith(text)
        assert [value.rstrip("✓✗?†") for value in column(page, 3)] == wanted
    page.select_option("#shown", "damage")
    page.locator("#matrix .range").first.wait_for(state="visible")
    page.uncheck("#intervals")
    page.locator("#matrix .range").first.wait_for(state="hidden")
