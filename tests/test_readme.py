"""README's examples, as a newcomer would follow them: in a folder of one's own, from what is printed alone."""

import os
import re
import shlex
import struct
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report.ledger import Entry, Reproduction, entries

# Pixels between the margins of a rendered README.
PAGE_WIDTH = 830
ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL))
# What is read before anybody scrolls.
FIRST_SCREEN = " ".join(README.split("\nA tour of a minute")[0].split())
OWN = "Your own"


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in ``folder``, with gradshape as if it were installed and nothing of this run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    environment = kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "bench")]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_own_training_works_as_printed(tmp_path: Path) -> None:
    (line,) = re.findall(r"^    (pytest .*)$", SECTIONS[OWN], re.MULTILINE)
    (name,) = re.findall(r"`(test_\w+\.py)`", SECTIONS[OWN])
    (tmp_path / name).write_text("\n\n".join(blocks(SECTIONS[OWN])), encoding="utf-8")
    done = run(tmp_path, "-m", *shlex.split(line))
    assert done.returncode == 0, done.stdout
    assert "2 cases: 2 passed" in done.stdout
    assert (tmp_path / "results" / "leaderboard.md").exists()


@pytest.mark.parametrize(
    ("section", "number"),
    [(title, n) for title, text in SECTIONS.items() if title != OWN for n in range(len(blocks(text)))],
)
def test_other_examples_work_as_printed(section: str, number: int, tmp_path: Path) -> None:
    done = run(tmp_path, "-c", blocks(SECTIONS[section])[number])
    assert done.returncode == 0, done.stderr
    assert done.stdout


@pytest.fixture(scope="module")
def ledger() -> list[Entry]:
    published = sorted((ROOT / "reports" / "data").glob("*.jsonl"))
    return entries([record for path in published for record in ResultsFile(path).records()])


def test_first_screen_counts_what_the_ledger_counts(ledger: list[Entry]) -> None:
    said = re.search(
        r"Of the (\d+) numbers that the paper states, (\d+) are reproduced, (\d+) differ, (\d+) cannot be compared and "
        r"(\d+) are not run",
        FIRST_SCREEN,
    )
    assert said is not None
    counts = Counter(entry.verdict for entry in ledger)
    assert list(map(int, said.groups())) == [len(ledger), *(counts[verdict] for verdict in Reproduction)]


def test_first_screen_quotes_the_ledger(ledger: list[Entry]) -> None:
    headings = dict(zip(("Reproduced", "Differs", "Not comparable"), Reproduction, strict=False))
    quoted = 0
    for heading, verdict in headings.items():
        (paragraph,) = re.findall(rf"\*{heading}\*:(.*?)(?= \* \*)", FIRST_SCREEN)
        for ours, published in re.findall(r"([\d.]+)[^\d().]*(?:at C = \d )?\(the paper: ([\d.]+)\)", paragraph):
            quoted += 1
            digits = len(ours.partition(".")[2])
            assert any(
                entry.verdict is verdict
                and entry.row.value == float(published)
                and f"{estimate.value:.{digits}f}" == ours
                for entry in ledger
                for _, estimate in entry.ours
            ), (heading, ours, published)
    assert quoted >= 5


def test_pictures_are_opaque_and_sharp_at_the_width_of_a_page() -> None:
    names = re.findall(r"!\[[^\]]*\]\(([^)]+)\)", README)
    assert names
    for name in names:
        header = (ROOT / name).read_bytes()[:33]
        width, _, _, color_type = struct.unpack(">IIBB", header[16:26])
        assert header[1:4] == b"PNG"
        assert width >= PAGE_WIDTH
        # Gray, colours, or a table of colours: with transparency a dark page would show through.
        assert color_type in (0, 2, 3)
