from pathlib import Path

from gradshape_bench.report.file_names import file_name
from gradshape_bench.report.html.figures import FigureFile, beside, matched

GROUPS = [
    ("smoke", "digits", "lr", "gradients"),
    ("smoke", "digits", "lr", "gradients_one_shot"),
    ("paper", "a/b", "lr", "x"),
]


def test_figures_are_matched_by_the_names_that_pictures_get() -> None:
    names = [f"{file_name('fig1', *group, 'label_flip')}.png" for group in GROUPS]
    assert [figure.section for figure in matched(sorted(names), GROUPS)] == [
        GROUPS.index(group) for _, group in sorted(zip(names, GROUPS, strict=True))
    ]


def test_both_formats_are_one_figure_and_pixels_come_first() -> None:
    assert matched(["a.svg", "a.png", "b.svg", "notes.txt"], GROUPS) == [
        FigureFile("a", (".png", ".svg"), None),
        FigureFile("b", (".svg",), None),
    ]


def test_without_a_folder_there_are_none(tmp_path: Path) -> None:
    assert beside(tmp_path / "leaderboard.html") == []


def test_files_of_the_folder_are_listed(tmp_path: Path) -> None:
    (tmp_path / "figures" / "deeper").mkdir(parents=True)
    (tmp_path / "figures" / "a.png").touch()
    assert beside(tmp_path / "leaderboard.html") == ["a.png"]
