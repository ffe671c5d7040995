"""The pages for readers: links lead somewhere, examples work as printed, and the map of the house stays a map."""

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *(ROOT / "examples").rglob("*.md")]
LINK = re.compile(r"\]\(([^)#:]+)\)")
# The examples of a page, one after the other, are a file of tests.
EXAMPLES = {
    page.relative_to(DOCS).with_suffix("").as_posix(): "\n\n".join(found)
    for page in sorted(DOCS.rglob("*.md"))
    if (found := re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL))
}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files(page: Path) -> None:
    broken = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not broken


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in ``folder``, with gradshape as if it were installed and nothing of this run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    environment = kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "bench")]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Counter[str], str]:
    """How many tests of each page passed when all were run in one folder, and what pytest said."""
    folder = tmp_path_factory.mktemp("pages")
    for page, source in EXAMPLES.items():
        (folder / f"test_{page.replace('/', '_').replace('-', '_')}.py").write_text(source, encoding="utf-8")
    done = run(folder, "-m", "pytest", "--offline", "--seeds=2", "--engine=threads", "--junit-xml=passed.xml")
    tests = ElementTree.parse(folder / "passed.xml").iter("testcase")
    passed = Counter(
        test.attrib["classname"] for test in tests if not {"failure", "error", "skipped"} & {e.tag for e in test}
    )
    return passed, done.stdout if done.returncode else ""


@pytest.mark.parametrize("page", EXAMPLES)
def test_examples_work_as_printed(page: str, ran: tuple[Counter[str], str]) -> None:
    passed, wrong = ran
    assert passed[f"test_{page.replace('/', '_').replace('-', '_')}"], wrong
    assert not wrong


def test_the_tutorial_s_gate_fails_as_printed(tmp_path: Path) -> None:
    page = (DOCS / "tutorial.md").read_text(encoding="utf-8")
    (step,) = re.findall(r"^## 4\..*?(?=^## 5)", page, re.MULTILINE | re.DOTALL)
    (name, before, after) = re.search(r"in `(\S+)` replace `(.+?)` by\s`(.+?)`", step).groups()  # type: ignore[union-attr]
    (printed,) = re.findall(r"^```\n(.*?)^```", step, re.MULTILINE | re.DOTALL)
    commands = [line.replace("/tmp/", f"{tmp_path}/") for line in re.findall(r"^    (\w.*)$", step, re.MULTILINE)]
    assert [command.split()[0] for command in commands] == ["pytest", "pytest", "gradshape"]
    assert EXAMPLES["tutorial"].count(before) == 1
    statuses = []
    for command, source in zip(
        commands, [EXAMPLES["tutorial"], *[EXAMPLES["tutorial"].replace(before, after)] * 2], strict=True
    ):
        (tmp_path / name).write_text(source, encoding="utf-8")
        program, *arguments = shlex.split(command)
        done = run(tmp_path, "-m", "gradshape_bench" if program == "gradshape" else program, *arguments)
        statuses.append(done.returncode)
    assert statuses == [0, 1, 1]
    found = done.stdout.split("\n\nWhat counts")[0]
    # The numbers of another processor differ in their last digits, and with them the widths and the order of rows.
    assert words(found) == words(printed)
    assert numbers(found) == pytest.approx(numbers(printed), abs=0.02)


def words(table: str) -> list[str]:
    """Return the rows of a table without their numbers."""
    return sorted(" ".join(re.sub(r"[-+]?\d\.\d+|[-|]{3,}", "", line).split()) for line in table.splitlines())


def numbers(table: str) -> list[float]:
    """Return the numbers with a fraction, row by row."""
    return [float(one) for line in sorted(table.splitlines(), key=words) for one in re.findall(r"[-+]?\d\.\d+", line)]


def test_every_way_to_extend_has_an_example_that_is_run() -> None:
    assert {page for page in EXAMPLES if page.startswith("adding/")} == {
        f"adding/{page.stem}" for page in (DOCS / "adding").glob("*.md")
    }


def test_each_answer_of_the_architecture_names_at_most_three_files() -> None:
    _, *answers = re.split(r"^## ", (DOCS / "architecture.md").read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert len(answers) == 3
    for answer in answers:
        files = [link for link in LINK.findall(answer) if link.endswith(".py")]
        assert 1 <= len(files) <= 3, answer
