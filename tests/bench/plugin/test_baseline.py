"""What `--baseline` makes of a run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.gate import baseline, sources
from gradshape_bench.gate.rules import DEFAULT_RULES
from tests.bench.plugin.project import SMALL, Project, Run


@pytest.fixture(scope="module")
def frozen(serial: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("frozen") / "baseline.json"
    baseline.write(path, sources.load(serial.results, [rule.metric for rule in DEFAULT_RULES]).cases.values())
    return path


@pytest.fixture(scope="module")
def better(frozen: Path) -> Path:
    """A baseline in which a case was better than it is."""

    def change(document: Any) -> None:
        (case,) = [case for case in document["cases"] if case["case"] == SMALL[3]]
        rad = case["metrics"]["rad"]
        rad["value"] -= 0.5
        rad["values"] = [value - 0.5 - place / 1_000 for place, value in enumerate(rad["values"])]

    return changed(frozen, "better", change)


def changed(frozen: Path, name: str, change: Callable[[Any], None]) -> Path:
    document = json.loads(frozen.read_text(encoding="utf-8"))
    change(document)
    path = frozen.with_name(f"{name}.json")
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def gated(project: Project, path: Path, *options: str) -> Run:
    """Run the two defended cases of the small suite against a baseline; jobs and records are there from other runs."""
    return project.run("test_small.py", "-k", "dp_adam", f"--baseline={path}", *options, into="serial")


def test_same_code_and_seeds_are_the_same(project: Project, frozen: Path) -> None:
    run = gated(project, frozen)
    assert run.status == 0
    assert f"gradshape: compared with {frozen}" in run.output
    assert "**No regression**: 2 cases: 2 same (2 to the last digit)." in run.output


def test_regression_fails_a_run_whose_tests_pass(project: Project, better: Path) -> None:
    run = gated(project, better, "--gradshape-fail-on=rad:+0.1")
    assert run.counted("2 passed")
    assert run.status == 1
    assert "**Regression**: 2 cases: 1 worse, 1 same" in run.output


def test_rules_and_confidence_of_the_run_decide(project: Project, better: Path) -> None:
    assert gated(project, better, "--fail-on=rad:+0.9").status == 0
    sure = "--confidence=0.99999"
    assert gated(project, better, sure).status == 0
    assert gated(project, better, sure, "--strict-verdicts").status == 1


def test_earlier_results_are_a_baseline_too(project: Project, serial: Run) -> None:
    assert gated(project, serial.results).status == 0


def test_only_selected_cases_are_compared(project: Project, better: Path) -> None:
    run = gated(project, better, "-k", SMALL[1])
    assert run.status == 0
    assert "3 cases of the baseline not selected by this run." in run.output


def test_cases_that_cannot_be_compared_fail_the_run(project: Project, frozen: Path) -> None:
    def elsewhere(document: Any) -> None:
        for environment in document["environments"].values():
            environment["torch"] = "0.4"

    path = changed(frozen, "elsewhere", elsewhere)
    run = gated(project, path)
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "measured elsewhere: torch 0.4, then" in run.output
    assert gated(project, path, "--across-machines").status == 0


def test_no_case_in_common_fails_the_run(project: Project, frozen: Path) -> None:
    path = changed(frozen, "others", lambda document: document["cases"].__delitem__(slice(1, None)))
    run = gated(project, path, "-k", SMALL[3])
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "nothing could be compared" in run.output


def test_no_selected_case_fails_the_run(project: Project, frozen: Path) -> None:
    run = project.run("test_alike.py::test_beside", f"--baseline={frozen}", into="no_case")
    assert run.counted("1 passed")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert "nothing could be compared: there are no cases" in run.output
    assert "4 cases of the baseline not selected by this run." in run.output


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--baseline=none.json"], "no such file"),
        (["--baseline=pytest.ini"], "it holds no record"),
        (["--fail-on=rad:+0.1"], "--fail-on: there is nothing to compare with"),
        (["--baseline=FROZEN", "--fail-on=rat:+0.1"], "--fail-on: unknown metric 'rat': did you mean 'rad'"),
    ],
)
def test_unusable_options_end_a_run_before_it_begins(
    project: Project, frozen: Path, options: list[str], said: str
) -> None:
    given = [option.replace("FROZEN", str(frozen)) for option in options]
    run = project.run("test_small.py", *given, into="unusable")
    assert run.status == pytest.ExitCode.USAGE_ERROR
    assert said in run.output
    assert not run.results.exists()


def test_processes_of_one_run_are_compared_together(project: Project, better: Path) -> None:
    run = gated(project, better, "-n", "2")
    assert run.status == 1
    assert run.output.count("**Regression**") == 1
    assert "2 cases: 1 worse" in run.output


def test_failing_tests_keep_their_exit_status(project: Project, frozen: Path) -> None:
    run = project.run("test_broken.py", f"--baseline={frozen}", into="broken_with_baseline")
    assert run.status == 1
    assert "**No regression**: 4 cases: 4 same (4 to the last digit)." in run.output
