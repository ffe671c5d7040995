"""The examples run as they are, each in a folder of its own, and are as short as README says."""

import ast
import io
import json
import os
import re
import shutil
import subprocess
import sys
import tokenize
from pathlib import Path
from typing import Any

import pytest

from gradshape import data

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"
README = (ROOT / "README.md").read_text(encoding="utf-8")
# At most so many lines, and where they are.
SHORT = {
    "attack": (25, EXAMPLES / "researcher" / "mirror.py"),
    "defence": (20, EXAMPLES / "researcher" / "nearest_mean.py"),
    "data set": (10, EXAMPLES / "researcher" / "rings.py"),
    "training": (10, EXAMPLES / "engineer" / "tests" / "test_poisoning.py"),
}


def run(folder: Path, *arguments: str) -> str:
    """Run Python in ``folder``, with gradshape as if it were installed and nothing of this run; return what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "GRADSHAPE_"))}
    kept |= {name: value for name, value in os.environ.items() if name == "GRADSHAPE_DATA"}
    environment = kept | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "bench")]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def suite(folder: Path, *arguments: str) -> tuple[str, list[dict[str, Any]]]:
    """Run the tests of an example; return what pytest says, and the records."""
    said = run(folder, "-m", "pytest", "--offline", "--engine", "threads", "--seeds", "2", *arguments)
    lines = (folder / "results" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return said, list(map(json.loads, lines))


def copied(name: str, folder: Path) -> Path:
    return shutil.copytree(
        EXAMPLES / name, folder / name, ignore=shutil.ignore_patterns("results", ".*cache", ".gradshape")
    )


def test_a_researchers_folder(tmp_path: Path) -> None:
    said, records = suite(copied("researcher", tmp_path))
    assert "33 cases: 33 passed" in said
    assert {record["model"] for record in records} == {"Gated", "nearest_row"}
    harm = {(one["attack"], one["model"], one["defense"]): one["metrics"]["rad"]["value"] for one in records}
    # Labels that are flipped where they do most harm do harm.
    assert harm["label_contamination_20", "Gated", "vanilla"] > 0.1


def test_networks_of_a_users_file(tmp_path: Path) -> None:
    said, records = suite(copied("networks", tmp_path))
    statuses = {(one["model"], one["defense"]): one["status"] for one in records}
    pictures = "ok" if _has_cifar10() else "skipped"
    assert len(statuses) == 6, said
    for (model, _), status in statuses.items():
        assert status == (pictures if model == "ResNet18" else "ok"), said


def _has_cifar10() -> bool:
    try:
        data.load("cifar10", download=False)
    except data.DataUnavailable:
        return False
    return True


def test_the_library_alone(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "library.py", tmp_path)
    said = run(tmp_path, "library.py")
    [norms] = re.findall(r"median norm: (\{.*\})", said)
    median = ast.literal_eval(norms)
    assert median["poison"] > 2 * median["clean"]
    lost = {name: float(value) for name, value in re.findall(r"(\w+): accuracy lost to the poison (\S+)", said)}
    assert lost["plain"] > 0.08
    assert max(lost["clipped"], lost["noisy"]) < lost["plain"] - 0.03
    assert (tmp_path / "norms.png").read_bytes()[:4] == b"\x89PNG"


def test_the_tour(tmp_path: Path) -> None:
    shutil.copy(EXAMPLES / "test_tour.py", tmp_path)
    # As many as by default: what a newcomer sees.
    said, records = suite(tmp_path, "--seeds", "3")
    [cases] = re.findall(r"(\d+) cases, a board", README)
    assert re.search(rf"{cases} cases: {int(cases) - 8} passed, 8 expected failures", said), said
    assert len({record["protocol"] for record in records}) == 3
    found = {(record["attack"], record["defense"]): record["metrics"] for record in records}
    for attack, damage, defense in (
        ("label_flip_40", "rad_vs_vanilla", "dp_adam_c0.1"),
        ("svm_ascent_20", "rad_vs_vanilla", "sever"),
        ("badnets_s3_1", "backdoor_rate", "dp_adam_c1_s1"),
        ("poison_frogs_1", "success_rate", "dp_adam_c0.1"),
    ):
        plain, defended = found[attack, "vanilla"][damage], found[attack, defense][damage]
        assert plain["value"] > 0.1
        assert plain["low"] > 0
        assert defended["value"] < 0.7 * plain["value"]
    frogs = found["poison_frogs_1", "vanilla"]
    assert frogs["success_rate_control"]["value"] < 0.1 < frogs["success_rate"]["low"]
    assert "heat_map-smoke-digits_38" in run(tmp_path, "-m", "gradshape_bench", "figures")


def lines_of_code(source: str) -> int:
    """Count lines that are neither blank nor a comment, and of no import or docstring."""
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom) or _is_docstring(node):
            left_out.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))  # type: ignore[attr-defined]
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    none = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    return len(
        {line for one in tokens if one.type not in none for line in range(one.start[0], one.end[0] + 1)} - left_out
    )


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def test_lines_are_counted_without_what_says_nothing() -> None:
    assert (
        lines_of_code('"""Doc."""\n\nimport os\n# Why.\nx = [\n    1,\n]\n\n\ndef f():\n    """Doc\n    more."""\n')
        == 4
    )


@pytest.mark.parametrize("kind", SHORT)
def test_examples_are_as_short_as_the_readme_says(kind: str) -> None:
    most, path = SHORT[kind]
    lines = lines_of_code(path.read_text(encoding="utf-8"))
    assert lines <= most
    [said] = re.findall(rf"\[(\d+) lines\]\({path.relative_to(ROOT)}\)", README)
    assert int(said) == lines
