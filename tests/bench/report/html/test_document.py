import base64
import hashlib
import json
import re
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape_bench.gate.since import since
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report.html import render, write
from gradshape_bench.report.html.document import SCRIPTS
from tests.bench.report.html.reader import board, data, documents
from tests.bench.report.html.sample import board as task
from tests.bench.report.html.sample import hostile, run
from tests.bench.sample import make, odd, unmeasured

ASSETS = files("gradshape_bench.report.html") / "assets"


def plain(records: list[Record]) -> list[object]:
    """What the records say, as JSON has it, in an order of its own."""
    return sorted((json.loads(record.to_json()) for record in records), key=lambda document: json.dumps(document))


@pytest.mark.parametrize("records", [run(), odd(), [hostile()], []], ids=["run", "odd", "hostile", "empty"])
def test_page_holds_all_that_the_records_say(records: list[Record]) -> None:
    found = documents(render(records))
    assert sorted(found, key=lambda document: json.dumps(document)) == plain(records)


def test_index_says_of_each_case_what_its_record_says() -> None:
    page = render(run())
    index, records = board(page), documents(page)
    cases = index["cases"]
    assert {len(column) for column in cases.values()} == {len(records)}
    for row, record in enumerate(records):
        assert index["attacks"][cases["attack"][row]] == record["attack"]
        assert index["defenses"][cases["defense"][row]] == record["defense"]
        assert index["statuses"][cases["status"][row]] == record["status"]
        rad = record["metrics"].get("rad") or record["metrics"].get("success_rate")
        assert cases["value"][row] == (None if rad is None else pytest.approx(rad["value"], rel=1e-5, abs=1e-9))


@settings(max_examples=15)
@given(st.permutations(run()))
def test_order_of_the_records_does_not_matter(records: list[Record]) -> None:
    assert render(records, against=since(records[:5], records)) == render(
        run(), against=since(sorted(records[:5], key=lambda r: r.case), run())
    )


def test_comes_the_same_from_the_results_file() -> None:
    assert render([Record.from_json(record.to_json()) for record in run()]) == render(run())


def test_nothing_that_a_record_says_is_markup() -> None:
    page = render([hostile()])
    assert "onerror" in page
    assert "<img" not in page
    # The elements are those of a page without records, and the data of one section.
    assert page.count("</script>") == render([]).count("</script>") + 1


def test_no_script_reads_text_as_markup_or_code() -> None:
    risky = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser")
    assert [name for name in SCRIPTS if risky.search((ASSETS / f"{name}.js").read_text(encoding="utf-8"))] == []


def test_only_the_page_itself_may_run_and_nothing_is_fetched() -> None:
    page = render(run())
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page)
    assert policy is not None
    allowed = policy[1].replace("&#39;", "'")
    for element in ("script", "style"):
        [text] = re.findall(rf"<{element}>(.*?)</{element}>", page, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{element}-src 'sha256-{digest}'" in allowed
    assert allowed.startswith("default-src 'none';")
    assert re.findall(r"(?:src|href)=[\"'](?!#|data:,)", page) == []


def test_every_file_of_the_assets_has_its_part_in_the_page() -> None:
    page = render([])
    for file in ASSETS.iterdir():
        text = file.read_text(encoding="utf-8")
        if not file.name.endswith(".j2"):
            assert text in page, file.name


def test_figures_beside_the_page_are_listed(tmp_path: Path) -> None:
    folder = tmp_path / "figures"
    folder.mkdir()
    for name in ("heat_map-smoke-digits-lr-from_scratch.png", "heat_map-smoke-digits-lr-from_scratch.svg", "x.txt"):
        (folder / name).touch()
    page = tmp_path / "leaderboard.html"
    assert write(run(), page) == []
    index = board(page.read_text(encoding="utf-8"))
    [[name, section, endings]] = index["figures"]
    assert (name, endings) == ("heat_map-smoke-digits-lr-from_scratch", [".png", ".svg"])
    assert index["sections"][section]["dataset"] == "digits"


def test_a_record_that_cannot_be_shown_is_left_out_and_named(tmp_path: Path) -> None:
    bad = make(defense="bad", details={"value": float("nan")})
    [remark] = write([make(), bad], tmp_path / "leaderboard.html")
    assert bad.case in remark
    assert len(documents((tmp_path / "leaderboard.html").read_text(encoding="utf-8"))) == 1


def test_page_of_two_runs_has_the_earlier_records_and_cases_that_are_gone() -> None:
    before, after = task(), task(worse=0.2)[1:]
    page = render(after, against=since(before, after))
    cases = board(page)["cases"]
    assert sorted(cases["kind"]) == ["missing"] + ["same"] * 7 + ["worse"] * 4
    assert len(documents(page)) == len(before)
    earlier = [document for document in documents(page, "before") if document]
    assert sorted(earlier, key=lambda document: json.dumps(document)) == plain(before[1:])


def test_doubles_are_refused() -> None:
    with pytest.raises(ValueError, match="records has several of case 'digits-lr-label_flip_10-dp_adam_c4'"):
        render([make(), make()])
    with pytest.raises(ValueError, match="against has several"):
        render([make()], against=since([make(), make()], [make()]))


def test_reasons_stand_in_the_index_so_that_they_can_be_searched() -> None:
    index = board(render([unmeasured(Status.FAILED, "it broke")]))
    assert index["notes"][index["cases"]["note"][0]] == "it broke"


def test_ids_that_do_not_follow_from_the_labels_are_kept() -> None:
    index = board(render([make(), make(case="another", defense="z")]))
    assert list(index["unusual"].values()) == ["another"]


def test_data_of_old_records_is_shown_as_far_as_it_goes() -> None:
    line = json.loads(make().to_json())
    for name in ("confidence", "looks", "planned_looks", "jobs", "cached_jobs", "challenge"):
        del line[name]
    old = Record.from_json(json.dumps(line | {"schema": 1}))
    page = render([old])
    assert documents(page) == [json.loads(old.to_json())]
    assert data(page, "records-0")
