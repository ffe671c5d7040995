from pathlib import Path
from xml.etree import ElementTree

import pytest

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import matplotlib
from matplotlib import cbook
from matplotlib.figure import Figure

from gradshape_bench.report.file_names import file_name
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.style import looks, nth_look, style, text

NAMES = [
    "$x$",
    r"$\bad{",
    "a_b",
    "_hidden",
    "<b>&amp;",
    "a--b->",
    "\N{SNOWMAN}\N{CJK UNIFIED IDEOGRAPH-4E2D}\U0001f600",
    "a\nb",
    "%",
]


def titled(name: str) -> Picture:
    with style():
        figure = Figure(figsize=(2, 1.5))
        axes = figure.add_subplot()
        axes.plot([0, 1], [0, 1], label=text(name))
        axes.set_title(text(name))
        axes.legend()
    return Picture("picture", figure)


@pytest.mark.parametrize("name", NAMES)
def test_any_name_can_be_drawn_and_is_in_the_legend(name: str, tmp_path: Path) -> None:
    picture = titled(name)
    _, svg = picture.save(tmp_path)
    ElementTree.parse(svg)
    legend = picture.figure.axes[0].get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == 1


def test_formulas_are_not_read_from_names() -> None:
    assert cbook.is_math_text("$x$")
    assert not cbook.is_math_text(text("$x$"))


def test_curves_are_told_apart_without_colours_and_without_markers() -> None:
    first = [nth_look(place) for place in range(7)]
    assert len({look.color for look in first}) == len({look.marker for look in first}) == 7


def test_many_curves_look_different() -> None:
    assert len({nth_look(place) for place in range(28)}) == 28


def test_reference_is_black_and_takes_no_colour_from_the_others() -> None:
    assert looks(["vanilla", "a"])["a"] == looks(["a"])["a"] == nth_look(0)
    assert looks(["a"])["vanilla"].color == "#000000"


def test_a_users_own_settings_change_nothing(tmp_path: Path) -> None:
    before = titled("a").save(tmp_path / "one")[1].read_bytes()
    with matplotlib.rc_context({"axes.facecolor": "red", "svg.hashsalt": "other", "font.size": 30}):
        after = titled("a").save(tmp_path / "two")[1].read_bytes()
    assert before == after


def test_saving_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    picture = titled("a")
    first, second = ([path.read_bytes() for path in picture.save(tmp_path / name)] for name in ("one", "two"))
    assert first == second


def test_files_hold_no_date_and_no_versions(tmp_path: Path) -> None:
    png, svg = (path.read_bytes() for path in titled("a").save(tmp_path))
    assert b"Software" not in png
    assert b"dc:date" not in svg
    assert matplotlib.__version__.encode() not in svg


@pytest.mark.parametrize("part", ["../up", "/root", "a/b", "", "  ", "..", "x" * 400, "naïve", "C:\\x"])
def test_names_of_files_stay_in_their_folder(part: str, tmp_path: Path) -> None:
    name = file_name("heat_map", part)
    assert (tmp_path / f"{name}.png").parent == tmp_path
    assert (tmp_path / f"{name}.png").resolve().parent == tmp_path.resolve()
    assert len(name) < 200


def test_different_labels_give_different_files() -> None:
    parts = [("a-b",), ("a", "b"), ("a/b",), ("a b",), ("a_b",), ("x" * 300,), ("x" * 301,)]
    assert len({file_name("kind", *part) for part in parts}) == len(parts)
