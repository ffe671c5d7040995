"""README's examples, as a newcomer would follow them: in a folder of one's own, from what is printed alone."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.*?)\n(.*?)(?=^## |\Z)", README, re.MULTILINE | re.DOTALL))
OWN = "Adding an attack, a defence or a protocol"


def blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def run(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run Python in ``folder``, with gradshape as if it were installed and nothing of this run."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    environment = kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "bench")]), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_own_attack_and_suite_work_as_printed(tmp_path: Path) -> None:
    (line,) = re.findall(r"^    (pytest .*)$", SECTIONS[OWN], re.MULTILINE)
    (name,) = re.findall(r"`(test_\w+\.py)`", SECTIONS[OWN])
    (tmp_path / name).write_text("\n\n".join(blocks(SECTIONS[OWN])), encoding="utf-8")
    done = run(tmp_path, "-m", *shlex.split(line))
    assert done.returncode == 0, done.stdout
    assert "6 cases: 6 passed" in done.stdout
    assert (tmp_path / "results" / "leaderboard.md").exists()


@pytest.mark.parametrize(
    ("section", "number"),
    [(title, n) for title, text in SECTIONS.items() if title != OWN for n in range(len(blocks(text)))],
)
def test_other_examples_work_as_printed(section: str, number: int, tmp_path: Path) -> None:
    done = run(tmp_path, "-c", blocks(SECTIONS[section])[number])
    assert done.returncode == 0, done.stderr
    assert done.stdout
