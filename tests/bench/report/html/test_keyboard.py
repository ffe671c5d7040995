"""The page without a mouse, in Chromium."""

from tests.bench.report.html.browser import Pages, column, focused, task
from tests.bench.report.html.sample import board, run

# Columns of the first table: digits, with vanilla, dp_adam_c8, dp_adam_c1 and the defence of the failed case.
VANILLA = 1


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
