"""What becomes of a case whose data cannot be had."""

from tests.bench.plugin.project import Project, Run


def test_missing_data_skips_with_the_command_that_fetches_it(missing: Run) -> None:
    assert missing.status == 0
    assert missing.counted("1 skipped")
    assert "python -m gradshape.data fetch location30" in missing.output


def test_missing_data_is_counted(missing: Run) -> None:
    assert "1 case: 1 skipped (1 for missing data)" in missing.output


def test_missing_data_is_recorded_as_skipped(missing: Run) -> None:
    assert [line["status"] for line in missing.lines] == ["skipped"]


def test_require_data_fails_instead(project: Project) -> None:
    run = project.run("test_missing.py", "--offline", "--require-data", into="required")
    assert run.status == 1
    assert "python -m gradshape.data fetch location30" in run.output


def test_unknown_data_set_fails_its_case_with_near_matches(project: Project) -> None:
    run = project.run("test_unknown.py", into="unknown")
    assert run.status == 1
    assert "unknown data set 'two_mons': did you mean 'two_moons'?" in run.output
    assert run.counted("1 failed, 1 passed")
