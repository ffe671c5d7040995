"""What is installed with the package: its types, and what README's commands use."""

import re
import tomllib
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PYPROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_every_package_of_the_wheel_says_that_it_is_typed() -> None:
    packages = PYPROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    assert len(packages) == 2
    assert [name for name in packages if not (ROOT / name / "py.typed").is_file()] == []


def test_the_install_command_of_the_readme_brings_what_its_commands_use() -> None:
    extras = PYPROJECT["project"]["optional-dependencies"]
    (installed,) = re.findall(r"^    pip install .*-e '\.\[([\w,]+)\]'$", README, re.MULTILINE)
    assert set(installed.split(",")) <= set(extras)
    brought = " ".join(one for extra in installed.split(",") for one in extras[extra])
    for said, package in (("`-n 2`", "pytest-xdist"), ("gradshape figures", "matplotlib")):
        assert said in README
        assert package in brought


def test_the_small_build_that_comes_first_is_the_version_that_is_installed_next() -> None:
    before, block = README.index("--index-url"), README.index("    pip install ")
    assert before < block
    (said,) = re.findall(r"`pip install (torch==\S+) --index-url", README)
    assert said in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()


def test_a_named_extra_exists() -> None:
    named = set(re.findall(r"extra `(\w+)`", README, re.IGNORECASE))
    assert named
    assert named <= set(PYPROJECT["project"]["optional-dependencies"])
