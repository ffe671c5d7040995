import subprocess
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report import plots
from tests.bench.sample import estimate, make, odd

pytest.importorskip("matplotlib", reason="pictures need matplotlib: install the extra plots")

import numpy as np
from matplotlib.text import Text
from PIL import Image

from gradshape_bench.report.plots.style import style
from tests.bench.report.plots import sample as sample

DPI = 150
HEAT_MAP = next(kind for kind in plots.KINDS if kind.module == "heat_map")
# Pixels between the margins of a rendered page, and of the smallest letters that can be read there.
PAGE_WIDTH, SMALLEST = 830, 8.0


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[plots.PictureKind, list[Path]]]:
    folder = tmp_path_factory.mktemp("figures") / "deep"
    return folder, plots.write(sample.everything(), folder, tell=pytest.fail)


def test_every_kind_is_drawn_as_png_and_svg(written: tuple[Path, dict[plots.PictureKind, list[Path]]]) -> None:
    _, files = written
    assert tuple(files) == plots.KINDS
    for kind, paths in files.items():
        assert {path.suffix for path in paths} == {".png", ".svg"}, kind


def test_a_png_is_opaque_and_looks_as_it_was_drawn(tmp_path: Path) -> None:
    (picture,) = plots.pictures(HEAT_MAP, sample.intensities())
    (path,) = picture.save(tmp_path, ["png"])
    drawn = BytesIO()
    with style():
        picture.figure.savefig(drawn, format="png")
    with Image.open(path) as kept, Image.open(drawn) as whole:
        assert kept.mode == "P"
        assert "transparency" not in kept.info
        difference = np.abs(np.asarray(kept.convert("RGB"), dtype=int) - np.asarray(whole.convert("RGB"), dtype=int))
    assert difference.max() <= 24
    assert path.stat().st_size < 0.6 * len(drawn.getvalue())


def test_formats_can_be_chosen(tmp_path: Path) -> None:
    files = plots.write(sample.tradeoff(), tmp_path, tell=pytest.fail, formats=["png"])
    assert [path.suffix for paths in files.values() for path in paths] == [".png"]


def test_written_files_are_told_and_there_are_no_others(
    written: tuple[Path, dict[plots.PictureKind, list[Path]]],
) -> None:
    folder, files = written
    paths = [path for found in files.values() for path in found]
    assert sorted(paths) == sorted(folder.iterdir())
    assert all(path.read_bytes()[:4] in (b"\x89PNG", b"<?xm") for path in paths)


def test_same_results_give_the_same_bytes_in_any_order(
    written: tuple[Path, dict[plots.PictureKind, list[Path]]], tmp_path: Path
) -> None:
    folder, first = written
    # Drawing takes long, and these add nothing but another picture of the same kinds.
    records = [record for record in sample.everything() if not record.protocol.startswith("gradients_one_shot")]
    again = plots.write(records[::-1], tmp_path, tell=pytest.fail)
    assert [kind for kind in first if not again[kind]] == []
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (folder / path.name).read_bytes()


def test_nothing_is_drawn_of_nothing(tmp_path: Path) -> None:
    assert not any(plots.write([], tmp_path / "none", tell=pytest.fail).values())
    assert not (tmp_path / "none").exists()


def test_scales_never_share_a_picture() -> None:
    records = [sample.gradients(), sample.gradients(scale="smoke"), *sample.intensities()]
    records += sample.intensities(scale="smoke")
    for kind in plots.KINDS:
        for picture in plots.pictures(kind, records):
            shown = [
                scale
                for scale in ("paper", "smoke")
                if f"{scale} scale" in picture.figure.get_suptitle().replace("\n", " ")
            ]
            assert len(shown) == 1
            assert f"-{shown[0]}-" in picture.name


def test_odd_records_are_drawn_or_left_out(tmp_path: Path) -> None:
    files = plots.write(odd(), tmp_path, tell=pytest.fail)
    names = [path.name for found in files.values() for path in found]
    assert names
    assert all(name.startswith("heat_map-") for name in names)


def test_text_is_legible_at_the_width_of_a_page() -> None:
    small = []
    for kind in plots.KINDS:
        for picture in plots.pictures(kind, sample.everything()):
            pixels = min(DPI * picture.figure.get_figwidth(), PAGE_WIDTH)
            scale = pixels / (72 * picture.figure.get_figwidth())
            written = [words for words in picture.figure.findobj(Text) if words.get_text() and words.get_visible()]
            small += [(picture.name, words) for words in written if float(words.get_fontsize()) * scale < SMALLEST]
    assert small == []


def test_there_need_be_no_display(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    monkeypatch.setenv("DISPLAY", "nowhere:7")
    assert any(plots.write(sample.tradeoff(), tmp_path, tell=pytest.fail).values())


def test_without_matplotlib_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(plots.MissingMatplotlib, match=r"pip install .gradshape\[plots\]."):
        plots.write([make()], tmp_path, tell=pytest.fail)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultsFile(tmp_path / "results.jsonl")
    for record in sample.tradeoff():
        store.append(record)
    return store.path


def test_command_says_what_was_drawn_and_what_was_not(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["figures", str(results)]) == 0
    out, err = capsys.readouterr()
    assert sorted(out.splitlines()) == sorted(map(str, results.with_name("figures").iterdir()))
    [line] = err.splitlines()
    assert line.startswith("not drawn, ")
    assert [kind.shows for kind in plots.KINDS if kind.shows in line] == [
        kind.shows for kind in plots.KINDS if "Fig. 12" not in kind.shows
    ]
    assert "Fig. 12" not in err


def test_what_was_not_drawn_comes_last_where_both_streams_are_one(results: Path) -> None:
    command = [sys.executable, "-m", "gradshape_bench", "figures", str(results)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=True)
    *drawn, last = done.stdout.splitlines()
    assert drawn
    assert [line for line in [*drawn, last] if line.startswith("not drawn, ")] == [last]


def test_command_names_what_is_too_large_and_draws_the_rest(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    huge = [replace(sample.tradeoff()[0], case="huge-metric", metrics={"accuracy_clean": estimate(1e308)})]
    huge += [sample.gradients("huge_detail", curves={"magnitude_ratio": sample.series([1.0, -1e200])})]
    for record in huge:
        ResultsFile(results).append(record)
    assert main(["figures", str(results)]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert f"left out of the pictures: huge-metric ({huge[0].scale}), whose accuracy_clean is 1e+308" in err
    assert f"left out of the pictures: {huge[1].case} (paper), whose series.magnitude_ratio.value is -1e+200" in err


def test_numbers_as_large_as_is_allowed_are_drawn(tmp_path: Path) -> None:
    records = [sample.gradients(curves={"magnitude_ratio": sample.series([1.0, 9e99, -9e99])}), *sample.intensities()]
    records += [replace(record, metrics={"rad": estimate(9e99)}) for record in sample.intensities()[:2]]
    assert any(plots.write(records, tmp_path, tell=pytest.fail).values())


def test_command_draws_where_it_is_asked_to(results: Path, tmp_path: Path) -> None:
    assert main(["figures", str(results), "--output", str(tmp_path / "a" / "b")]) == 0
    assert len(list((tmp_path / "a" / "b").iterdir())) == 2
    assert not results.with_name("figures").exists()


def test_command_without_matplotlib_is_one_line(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert main(["figures", str(results)]) == 1
    out, err = capsys.readouterr()
    assert err.startswith("error: pictures need matplotlib")
    assert (out, err.count("\n")) == ("", 1)


def test_file_in_the_place_of_the_folder_is_one_line(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results.with_name("figures").touch()
    assert main(["figures", str(results)]) == 1
    assert capsys.readouterr().err.count("\n") == 1
