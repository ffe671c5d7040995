"""Settings of a project in its pyproject.toml."""

import json
from pathlib import Path

import pytest

from gradshape_bench.project_settings import arguments

pytest_plugins = ("pytester",)

FLAGS = {"seeds": False, "offline": True, "fail-on": False, "scale": False}
SUITE = """
from gradshape.attacks import LabelFlip
from gradshape.defenses import NoDefense
from gradshape.training import SGD, Recipe
from gradshape_bench import Matrix, Task, benchmark_cases


@benchmark_cases(
    Matrix(
        [Task("two_moons", Recipe("lr", SGD(0.5), batch_size=50, epochs=1))], [LabelFlip(0.1)], [NoDefense()],
        thresholds=[],
    )
)
def test_moons(outcome):
    outcome.check()
"""


def written(folder: Path, *lines: str) -> Path:
    (folder / "pyproject.toml").write_text("\n".join(["[tool.gradshape]", *lines]), encoding="utf-8")
    return folder


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("seeds = 5", ["--gradshape-seeds=5"]),
        ('seeds = "5"', ["--gradshape-seeds=5"]),
        ("offline = true", ["--gradshape-offline"]),
        ("offline = false", []),
        (
            'fail-on = ["rad:+0.1", "mse_ratio:+1"]',
            ["--gradshape-fail-on=rad:+0.1", "--gradshape-fail-on=mse_ratio:+1"],
        ),
        ('fail_on = ["-k"]', ["--gradshape-fail-on=-k"]),
    ],
)
def test_settings_are_options(tmp_path: Path, line: str, expected: list[str]) -> None:
    assert arguments(written(tmp_path, line), FLAGS) == expected


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("sedes = 5", "unknown setting in .* 'sedes': did you mean 'seeds'"),
        ("seeds = true", "seeds = True: expected text or a number"),
        ("seeds = {}", "expected text or a number"),
        ("seeds = [[1]]", "expected text or a number"),
        ("offline = 1", "offline = 1: expected true or false"),
        ("seeds = ", "pyproject.toml: "),
    ],
)
def test_what_is_wrong_is_said_with_the_file(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        arguments(written(tmp_path, line), FLAGS)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[tool]\ngradshape = 3", r"tool.gradshape = 3: expected a table, \[tool.gradshape\]"),
        ("[tool]\ngradshape = [1]", r"tool.gradshape = \[1\]: expected a table"),
        ('[tool]\ngradshape = "seeds"', "tool.gradshape = 'seeds': expected a table"),
        ("[[tool.gradshape]]\nseeds = 5", r"tool.gradshape = \[\{'seeds': 5\}\]: expected a table"),
        ('tool = "gradshape"', "tool = 'gradshape': expected a table"),
        ("# gradshape\ntool = [1]", r"tool = \[1\]: expected a table"),
    ],
)
def test_settings_are_a_table(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=f"pyproject.toml: {told}"):
        arguments(tmp_path, FLAGS)


def test_a_project_without_settings_has_none(tmp_path: Path) -> None:
    assert arguments(tmp_path, FLAGS) == []
    (tmp_path / "pyproject.toml").write_text("[tool.other]\nseeds = 1", encoding="utf-8")
    assert arguments(tmp_path, FLAGS) == []
    (tmp_path / "pyproject.toml").write_text("neither = TOML = at all", encoding="utf-8")
    assert arguments(tmp_path, FLAGS) == []


@pytest.mark.parametrize("processes", [[], ["-n", "2"]], ids=["alone", "two processes"])
def test_the_command_line_comes_after_them(pytester: pytest.Pytester, processes: list[str]) -> None:
    pytester.makepyfile(test_moons=SUITE)
    written(pytester.path, "seeds = 4", 'results = "apart/here.jsonl"')
    given: dict[int, list[str]] = {4: [], 1: ["--seeds", "1"]}
    for seeds, options in given.items():
        pytester.runpytest_subprocess(*options, *processes).assert_outcomes(passed=1)
        [line] = (pytester.path / "apart" / "here.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(json.loads(line)["seeds"]) == seeds


def test_a_wrong_setting_ends_the_run_with_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(test_moons=SUITE)
    written(pytester.path, "sedes = 4")
    result = pytester.runpytest_subprocess()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["ERROR: *pyproject.toml: unknown setting *'sedes'*"])
