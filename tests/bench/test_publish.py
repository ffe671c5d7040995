"""What publishing takes, what it refuses, and what it says."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from gradshape_bench.__main__ import main
from gradshape_bench.case import Scale
from gradshape_bench.publish import Refused, data_file, prepare
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report import html, leaderboard, plots
from gradshape_bench.report.page_contents import numbers_on, settings_on
from gradshape_bench.speed import results as speed_results
from tests.bench.report.board.reading import broken_links
from tests.bench.sample import make
from tests.bench.speed.sample import make as speed_run

PAPER = [make(scale="paper", attack=f"label_flip_{i}", defense=d) for i in (10, 20) for d in ("vanilla", "dp_adam_c4")]
SMOKE = [replace(record, scale="smoke") for record in PAPER]
RANKING = "ranking-paper-indiscriminate-rad_vs_vanilla-trained.md"
REPORTS = Path(__file__).parents[2] / "reports"
COST = make(scale="smoke", protocol="utility", attack="no_attack")


def measured(folder: Path, records: Iterable[Record]) -> Path:
    """The results file that a complete run leaves."""
    results = ResultsFile(folder / "results" / "results.jsonl")
    for record in records:
        results.append(record)
    Pending(results.path).add([])
    return results.path


@pytest.fixture
def into(tmp_path: Path) -> Path:
    return tmp_path / "reports"


def published(results: Path, into: Path, *, over: bool = False, scale: Scale | None = None) -> list[str]:
    """Publish without figures; what was said."""
    scales = tuple(Scale) if scale is None else (scale,)
    publication = prepare(results, into, scales=scales, replace=over, figures=False)
    said = [*map(str, publication.changes), *publication.remarks]
    publication.write()
    return said


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def ids(records: Iterable[Record]) -> set[str]:
    return {record.case for record in records}


def test_every_scale_has_its_page(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, [*PAPER, SMOKE[0]]), into)
    assert "[digits, lr](leaderboard/paper-digits-lr.md)" in read(into / "leaderboard.md")
    assert "[digits, lr](leaderboard-smoke/smoke-digits-lr.md)" in read(into / "leaderboard-smoke.md")
    assert {path.name for path in (into / "leaderboard-smoke").iterdir()} == {"legend.md", "smoke-digits-lr.md"}


def test_a_page_is_what_its_data_give(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, PAPER), into)
    kept = ResultsFile(data_file(into, Scale.PAPER)).records()
    assert {name: read(into / name) for name in leaderboard.render(kept)} == leaderboard.render(kept)


def test_some_cases_leave_the_others(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, PAPER), into)
    again = make(scale="paper", attack="label_flip_10", defense="vanilla", rad=0.2)
    published(measured(tmp_path / "later", [again]), into)
    kept = {record.case: record.metrics["rad"].value for record in ResultsFile(data_file(into, Scale.PAPER)).records()}
    assert kept == {record.case: 0.2 if record.case == again.case else 0.012 for record in PAPER}


def test_the_other_scale_stays(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, PAPER), into)
    before = read(into / "leaderboard.md")
    published(measured(tmp_path / "later", SMOKE), into)
    assert read(into / "leaderboard.md") == before


def test_one_scale_can_be_taken_alone(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, [*PAPER, *SMOKE]), into, scale=Scale.PAPER)
    assert not (into / "leaderboard-smoke.md").exists()


def test_publishing_twice_changes_nothing(tmp_path: Path, into: Path) -> None:
    results = measured(tmp_path, [*PAPER, COST])
    published(results, into)
    assert published(results, into) == []


def test_it_says_file_by_file_what_it_replaces(tmp_path: Path, into: Path) -> None:
    assert published(measured(tmp_path, PAPER[:3]), into) == [
        f"creates {into / 'data' / 'paper.jsonl'}: 3 cases (commit 0123abc): 3 new, 0 measured again, 0 as before",
        f"creates {into / 'leaderboard.md'}",
        *(f"creates {into / 'leaderboard' / name}" for name in ("legend.md", RANKING, "paper-digits-lr.md")),
        f"creates {into / 'leaderboard.html'}: 3 cases",
    ]
    again = replace(PAPER[0], seconds=7.0, environment={"commit": "4567def"})
    assert published(measured(tmp_path / "later", [again, PAPER[3]]), into) == [
        f"replaces {into / 'data' / 'paper.jsonl'}: 4 cases (commit 0123abc, 4567def): 1 new, 1 measured again, 2 as "
        "before",
        f"replaces {into / 'leaderboard.md'}",
        *(f"replaces {into / 'leaderboard' / name}" for name in ("legend.md", RANKING, "paper-digits-lr.md")),
        f"replaces {into / 'leaderboard.html'}: 4 cases",
    ]


def test_a_board_without_data_behind_it_is_not_lost(tmp_path: Path, into: Path) -> None:
    into.mkdir()
    (into / "leaderboard.md").write_text("a board", encoding="utf-8")
    with pytest.raises(Refused, match=r"leaderboard.md: there are no records of it, .* --replace drops it"):
        published(measured(tmp_path, PAPER[:2]), into)
    assert not (into / "data").exists()
    published(measured(tmp_path / "later", PAPER[:2]), into, over=True)
    assert read(into / "leaderboard.md") != "a board"


def test_a_page_of_a_task_that_is_gone_is_removed(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, [*PAPER, make(scale="paper", dataset="other")]), into)
    page = into / "leaderboard" / "paper-other-lr.md"
    assert page.exists()
    assert f"removes {page}" in published(measured(tmp_path / "later", PAPER), into, over=True)
    assert not page.exists()


def test_replacing_leaves_this_run_alone(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, PAPER), into)
    said = published(measured(tmp_path / "later", PAPER[:1]), into, over=True)
    assert ids(ResultsFile(data_file(into, Scale.PAPER)).records()) == ids(PAPER[:1])
    assert said[0].endswith("0 new, 0 measured again, 1 as before, 3 gone")


@pytest.mark.parametrize("line", ['{"schema": 99, "case": "of the future"}', '{"schema": 2, "case": "half'])
def test_published_lines_that_are_no_records_are_not_lost(line: str, tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, PAPER[:2]), into)
    file = data_file(into, Scale.PAPER)
    file.write_text(f"{read(file)}{line}\n", encoding="utf-8")
    before = {path: path.read_bytes() for path in into.rglob("*") if path.is_file()}
    later = measured(tmp_path / "later", PAPER)
    with pytest.raises(Refused, match=r"1 line is no record of this version .*paper\.jsonl:3 .*--replace"):
        prepare(later, into, figures=False)
    assert {path: path.read_bytes() for path in into.rglob("*") if path.is_file()} == before
    # It is in nobody's way at the other scale.
    published(measured(tmp_path / "other", SMOKE[:1]), into)
    published(later, into, over=True)
    assert line not in read(file)
    assert len(ResultsFile(file).read().records) == len(PAPER)


def test_a_case_that_was_skipped_leaves_what_was_measured(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, PAPER), into)
    before = read(into / "leaderboard.md")
    skipped = make(scale="paper", attack="label_flip_10", rad=None, status=Status.SKIPPED, reason="data: none")
    assert published(measured(tmp_path / "later", [skipped]), into) == ["leaves out 1 case at paper scale: skipped"]
    assert read(into / "leaderboard.md") == before


def test_fewer_seeds_leave_more(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, PAPER), into)
    fewer = replace(PAPER[0], seeds=(0, 1))
    assert published(measured(tmp_path / "later", [fewer]), into) == [
        "keeps 1 published case at paper scale: it has fewer seeds now"
    ]


def test_a_skipped_case_is_left_out_as_its_reason_is_the_machines(tmp_path: Path, into: Path) -> None:
    skipped = make(scale="paper", attack="no_data", rad=None, status=Status.SKIPPED, reason="data: not in /here")
    published(measured(tmp_path, [*PAPER, skipped]), into)
    assert {record.case for record in ResultsFile(data_file(into, Scale.PAPER)).records()} == ids(PAPER)
    assert not any("/here" in read(page) for page in into.rglob("*.md"))


@pytest.mark.parametrize("status", [Status.FAILED, Status.CRASHED, Status.TIMEOUT])
def test_a_run_with_a_broken_case_is_refused(status: Status, tmp_path: Path, into: Path) -> None:
    broken = make(scale="paper", rad=None, status=status, reason="why")
    with pytest.raises(Refused, match=rf"1 case without a measurement: .*\({status.value}\)"):
        published(measured(tmp_path, [*PAPER, replace(broken, case="broken")]), into)
    assert not into.exists()


def test_an_interrupted_run_is_refused(tmp_path: Path, into: Path) -> None:
    results = measured(tmp_path, PAPER)
    Pending(results).add([PAPER[0].key, ("paper", "next")])
    with pytest.raises(Refused, match=f"2 selected cases not measured yet: {PAPER[0].case}, next"):
        published(results, into)


def test_an_interrupted_run_at_another_scale_is_none_of_its_business(tmp_path: Path, into: Path) -> None:
    results = measured(tmp_path, [*PAPER, *SMOKE])
    Pending(results).add([("smoke", "next")])
    published(results, into, scale=Scale.PAPER)
    assert (into / "leaderboard.md").exists()


def test_a_run_that_did_not_say_what_it_selects_is_refused(tmp_path: Path, into: Path) -> None:
    results = measured(tmp_path, PAPER)
    Pending(results).path.unlink()
    with pytest.raises(Refused, match="to say which cases were selected: run"):
        published(results, into)


def test_an_empty_results_file_is_refused(tmp_path: Path, into: Path) -> None:
    with pytest.raises(Refused, match="holds nothing to publish"):
        published(measured(tmp_path, []), into)


def test_privacy_is_published_with_the_cases_that_it_shows(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, [COST]), into)
    assert settings_on(read(into / "privacy.md")) == {("digits, lr, utility (smoke scale)", "C none, no noise")}


def test_data_are_kept_short(tmp_path: Path, into: Path) -> None:
    published(measured(tmp_path, [make(scale="paper", rad=0.1234567891)]), into)
    assert '"rad":{"value":0.123457,' in read(data_file(into, Scale.PAPER))


def test_speed_is_published_at_paper_scale(tmp_path: Path, into: Path) -> None:
    results = measured(tmp_path, [])
    speed_results.save(speed_run(), results.with_name("speed.json"))
    published(results, into)
    assert read(into / "speed.json") == read(results.with_name("speed.json"))
    assert read(into / "speed.md").startswith("# Speed")


def test_speed_at_smoke_scale_is_left_out(tmp_path: Path, into: Path) -> None:
    results = measured(tmp_path, PAPER)
    speed_results.save(speed_run(scale=Scale.SMOKE), results.with_name("speed.json"))
    assert f"leaves out {results.with_name('speed.json')}: it is at smoke scale" in published(results, into)
    assert not (into / "speed.md").exists()


def test_figures_are_drawn_of_all_that_shares_them(tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[set[str]] = []

    def draw(
        records: list[Record], folder: Path, *, tell: Callable[[str], None], formats: Sequence[str]
    ) -> dict[str, list[Path]]:
        assert formats == ("png",)
        drawn.append(ids(records))
        (folder / "one.png").write_bytes(b"picture")
        return {"kind": [folder / "one.png"]}

    monkeypatch.setattr(plots, "write", draw)
    # One picture may show several protocols on one task.
    task = [*PAPER, make(scale="paper", protocol="another")]
    published(measured(tmp_path, [*task, make(scale="paper", dataset="other")]), into)
    publication = prepare(measured(tmp_path / "later", PAPER[:1]), into)
    assert drawn == [ids(task)]
    assert [change.path for change in publication.changes] == [
        into / "figures" / "one.png",
        into / "leaderboard.html",
    ]


def test_the_page_to_browse_has_both_scales_and_links_the_figures(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "heat_map-paper-digits-lr-from_scratch.png"

    def draw(
        _: list[Record], folder: Path, *, tell: Callable[[str], None], formats: Sequence[str]
    ) -> dict[str, list[Path]]:
        (folder / name).write_bytes(b"drawn")
        return {"all": [folder / name]}

    monkeypatch.setattr(plots, "write", draw)
    results = measured(tmp_path, [*PAPER, SMOKE[0]])
    prepare(results, into).write()
    records = [record for scale in Scale for record in ResultsFile(data_file(into, scale)).records()]
    assert len(records) == 5
    assert read(into / "leaderboard.html") == html.render(records, drawn=[name])
    # The first time the figure was not there yet when the page was made, and the second time it was.
    assert prepare(results, into).changes == []


def test_the_published_pictures_are_kept_once() -> None:
    figures = Path(__file__).parents[2] / "reports" / "figures"
    assert {path.suffix for path in figures.iterdir()} == {".png"}


def test_pages_link_to_the_figures_that_are_there_or_drawn(
    tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def draw(
        records: list[Record], folder: Path, *, tell: Callable[[str], None], formats: Sequence[str]
    ) -> dict[str, list[Path]]:
        (folder / "heat_map-paper-digits-lr-from_scratch.png").write_bytes(b"picture")
        return {"kind": [folder / "heat_map-paper-digits-lr-from_scratch.png"]}

    monkeypatch.setattr(plots, "write", draw)
    prepare(measured(tmp_path, PAPER), into).write()
    page = read(into / "leaderboard" / "paper-digits-lr.md")
    assert "(../figures/heat_map-paper-digits-lr-from_scratch.png)" in page
    published(measured(tmp_path / "later", PAPER[:1]), into)
    assert read(into / "leaderboard" / "paper-digits-lr.md") == page


@pytest.fixture(scope="module")
def boards() -> Mapping[str, Mapping[str, str]]:
    """The pages that the published records give, by the name of the overview."""
    figures = {path.name for path in (REPORTS / "figures").glob("*.png")}
    return {
        stem: leaderboard.render(ResultsFile(data_file(REPORTS, scale)).records(), stem=stem, figures=figures)
        for scale, stem in ((Scale.PAPER, "leaderboard"), (Scale.SMOKE, "leaderboard-smoke"))
    }


def test_the_published_boards_are_what_the_published_records_give(boards: Mapping[str, Mapping[str, str]]) -> None:
    for stem, pages in boards.items():
        there = {f"{stem}/{path.name}" for path in (REPORTS / stem).iterdir()} | {f"{stem}.md"}
        assert there == set(pages)
        assert [name for name, text in pages.items() if read(REPORTS / name) != text] == []


def test_every_link_of_the_published_boards_leads_somewhere(boards: Mapping[str, Mapping[str, str]]) -> None:
    beside = {path.relative_to(REPORTS).as_posix() for path in REPORTS.rglob("*") if path.is_file()}
    assert [link for pages in boards.values() for link in broken_links(pages, beside=beside)] == []


def test_no_published_page_is_too_large(boards: Mapping[str, Mapping[str, str]]) -> None:
    sizes = {name: len(text.encode()) for pages in boards.values() for name, text in pages.items()}
    assert {name: size for name, size in sizes.items() if size > 200_000} == {}


def test_the_other_published_pages_say_what_they_hold() -> None:
    assert settings_on(read(REPORTS / "privacy.md"))
    assert numbers_on(read(REPORTS / "reproduction.md"))


def command(results: Path, into: Path, *arguments: str) -> int:
    return main(["publish", str(results), "--into", str(into), *arguments])


@pytest.fixture
def no_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plots, "write", lambda *_, **__: {})


@pytest.mark.usefixtures("no_figures")
def test_command_prints_what_it_does(tmp_path: Path, into: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = measured(tmp_path, PAPER)
    assert command(results, into) == 0
    assert f"creates {into / 'leaderboard.md'}\n" in capsys.readouterr().out
    assert (into / "leaderboard.md").exists()
    assert command(results, into) == 0
    assert capsys.readouterr().out == f"{into} holds all of it already\n"


@pytest.mark.usefixtures("no_figures")
def test_command_can_only_say_it(tmp_path: Path, into: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(measured(tmp_path, PAPER), into, "--dry-run") == 0
    assert f"creates {into / 'leaderboard.md'}" in capsys.readouterr().out
    assert not into.exists()


@pytest.mark.usefixtures("no_figures")
def test_command_takes_one_scale(tmp_path: Path, into: Path) -> None:
    assert command(measured(tmp_path, [*PAPER, *SMOKE]), into, "--scale", "smoke") == 0
    assert [page.name for page in into.glob("*.md")] == ["leaderboard-smoke.md"]


def test_command_says_why_it_refuses(tmp_path: Path, into: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(measured(tmp_path, []), into) == 1
    assert "error: " in capsys.readouterr().err
