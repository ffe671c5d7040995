from pathlib import Path

import pytest

from gradshape_bench.commands.suites import files_with_cases

DECLARES = "@benchmark_cases(...)\n"


@pytest.mark.parametrize(
    ("name", "text", "found"),
    [
        ("test_a.py", DECLARES, True),
        ("deep/er/a_test.py", DECLARES, True),
        ("test_a.py", "@bench.benchmark_cases(...)\n", True),
        ("test_a.py", "nothing of benchmark_cases\n", False),
        ("helpers.py", DECLARES, False),
        (".hidden/test_a.py", DECLARES, False),
        ("node_modules/test_a.py", DECLARES, False),
    ],
)
def test_test_files_of_the_project_that_declare_cases_are_found(
    name: str, text: str, found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    monkeypatch.chdir(tmp_path)
    assert files_with_cases(tmp_path) == ([name] if found else [])


def test_virtual_environments_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "pyvenv.cfg").touch()
    (tmp_path / "mine" / "test_a.py").write_text(DECLARES)
    monkeypatch.chdir(tmp_path)
    assert files_with_cases(tmp_path) == []
