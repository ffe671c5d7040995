"""What the JUnit file of a run says of its cases."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from tests.bench.plugin.project import SMALL, Project, Run


def properties(path: Path) -> dict[str, dict[str, str]]:
    """Properties by test."""
    root = ElementTree.parse(path).getroot()
    return {
        test.attrib["name"]: {own.attrib["name"]: own.attrib["value"] for own in test.iter("property")}
        for test in root.iter("testcase")
    }


@pytest.fixture(scope="module", params=[(), ("-n", "2")], ids=["serial", "two processes"])
def run(project: Project, request: pytest.FixtureRequest) -> tuple[Run, dict[str, dict[str, str]]]:
    into = f"junit{len(request.param)}"
    path = project.folder / f"{into}.xml"
    done = project.run("test_small.py", "test_raising.py", "--junit-xml", str(path), *request.param, into=into)
    return done, properties(path)


def test_metrics_are_properties_of_their_tests(run: tuple[Run, dict[str, dict[str, str]]]) -> None:
    done, found = run
    for case in SMALL:
        own, record = found[f"test_small[{case}]"], done.records[case]
        rad = record["metrics"]["rad"]
        assert float(own["gradshape.rad"]) == pytest.approx(rad["value"], rel=1e-4, abs=1e-6)
        assert float(own["gradshape.rad.low"]) == pytest.approx(rad["low"], rel=1e-4, abs=1e-6)
        assert own["gradshape.seeds"] == "0 1"
        assert own["gradshape.verdict"] == record["thresholds"][0]["verdict"]


def test_a_case_without_metrics_has_its_status(run: tuple[Run, dict[str, dict[str, str]]]) -> None:
    own = run[1]["test_raising[two_moons-lr-raising-vanilla]"]
    assert own["gradshape.status"] == "failed"
    assert "no room on the shelf" in own["gradshape.reason"]


def test_the_whole_record_is_left_to_the_results_file(run: tuple[Run, dict[str, dict[str, str]]]) -> None:
    assert not any("gradshape_record" in own for own in run[1].values())


def test_records_arrive_as_ever(run: tuple[Run, dict[str, dict[str, str]]]) -> None:
    assert set(SMALL) <= run[0].records.keys()
