"""A repository of somebody else's, with packages, folders, plugins and options of its own, and the built wheel."""

import json
import os
import re
import shutil
import subprocess
import sys
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
# Where pytest-randomly, -cov, -timeout and -rerunfailures are: see the environment `tests` of tox.ini.
NEIGHBORS = os.environ.get("GRADSHAPE_NEIGHBORS")
pytestmark = pytest.mark.skipif(
    not NEIGHBORS, reason="GRADSHAPE_NEIGHBORS names no folder with the plugins of the dependency group `neighbors`"
)
FILES = {
    "pyproject.toml": """
[tool.pytest]
addopts = ["--import-mode=importlib", "-p", "house.options", "--cov=bench", "--timeout=300", "--reruns=1"]
pythonpath = ["."]
testpaths = ["tests"]

[tool.gradshape]
seeds = 6
offline = true
engine = "threads"
""",
    # A plugin and the conftest have options that gradshape has, too, and a fixture reads them.
    "house/__init__.py": "",
    "house/options.py": """
def pytest_addoption(parser):
    parser.addoption("--device", default="bench-1", help="which test bench")
""",
    "conftest.py": """
import pytest


def pytest_addoption(parser):
    parser.getgroup("house").addoption("--seeds", default="grass", help="what is sown")


@pytest.fixture
def sown(pytestconfig):
    return pytestconfig.getoption("--seeds"), pytestconfig.getoption("--device")
""",
    "suites/__init__.py": "SUITES = 'rooms'",
    "reports/__init__.py": "REPORTS = 'of the year'",
    "bench/__init__.py": "",
    "bench/rows.py": """
import numpy as np

LOW, HIGH = np.array([-20, 0, 0, 0, 0, 0, -5, 0.0]), np.array([120, 16, 3000, 40, 100, 10, 5, 1.0])
SIGNS = np.array([0.036, 0.03, -0.024, 0.036, 0.018, -0.03, 0.024, 0.018])


def draw(rows, seed):
    generator = np.random.default_rng(seed)
    y = generator.integers(0, 2, rows)
    share = 0.5 + generator.normal(0, 0.06, (rows, 8)) + (2 * y[:, None] - 1) * SIGNS
    return LOW + (HIGH - LOW) * share.clip(0, 1), y
""",
    "bench/training.py": """
import torch
from torch import nn

from bench.rows import HIGH, LOW

MIDDLE = torch.tensor((LOW + HIGH) / 2).float()
WIDTH = torch.tensor((HIGH - LOW) * 0.06).float()
MOST = 0.1  # The largest norm of one row's gradient.
EPOCHS = 20  # Few: later ones learn single rows.


def with_clipping(rows, seed):
    def clipped(model, x, y):
        gradients = torch.func.vmap(torch.func.grad(one_loss), (None, 0, 0))(dict(model.named_parameters()), x, y)
        norms = sum(part.flatten(1).square().sum(1) for part in gradients.values()).sqrt()
        weights = (MOST / norms).clamp(max=1)
        for name, parameter in model.named_parameters():
            parameter.grad = torch.einsum("b,b...->...", weights, gradients[name]) / len(x)

    def one_loss(parameters, x, y):
        return nn.functional.cross_entropy(torch.func.functional_call(model, parameters, x[None]), y[None])

    model = network(seed)
    return fitted(model, scaled(rows.x), rows.y, clipped, epochs=25, momentum=0.9)


def with_filter(rows, seed):
    x, y = scaled(rows.x), rows.y
    kept = agrees(x, y)
    return fitted(network(seed), x[kept], y[kept], plain, epochs=6, momentum=0.9)


def stopped_early(rows, seed):
    model, x = network(seed), scaled(rows.x)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(EPOCHS):
        plain(model, x, rows.y)
        optimizer.step()
    return lambda new: model(scaled(new))


def scaled(x):
    return (x - MIDDLE) / WIDTH


def agrees(x, y):
    nearest = torch.cdist(x, x).topk(16, largest=False).indices[:, 1:]
    return (y[nearest] == y[:, None]).float().mean(1) > 0.5


def network(seed):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(8, 128), nn.ReLU(), nn.Linear(128, 2))


def plain(model, x, y):
    model.zero_grad()
    nn.functional.cross_entropy(model(x), y).backward()


def fitted(model, x, y, gradient, *, epochs, momentum):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=momentum)
    for _ in range(epochs):
        for batch in torch.randperm(len(x)).split(32):
            gradient(model, x[batch], y[batch])
            optimizer.step()
    return lambda new: model(scaled(new))
""",
    # Ten lines.
    "tests/test_poisoning.py": """
from gradshape.attacks import LabelFlip
from gradshape.data import from_rows
from gradshape.defenses import NoDefense
from gradshape.training import Fit
from gradshape_bench import Matrix, Task, Threshold, benchmark_cases

from bench.rows import HIGH, LOW, draw
from bench.training import stopped_early, with_clipping, with_filter

ROWS = from_rows(draw(300, 0), draw(600, 1), name="pumps", value_range=(LOW, HIGH))
TASKS = [Task(ROWS, Fit(train)) for train in (with_clipping, with_filter, stopped_early)]


@benchmark_cases(Matrix(TASKS, [LabelFlip(0.4)], [NoDefense()], thresholds=[Threshold("accuracy_clean", ">", 0.8)]))
def test_poisoning(outcome):
    outcome.check()
""",
    "tests/test_house.py": """
import bench
import reports
import suites


def test_packages_and_options_are_the_house_s_own(sown):
    assert sown == ("grass", "bench-1")
    assert (suites.SUITES, reports.REPORTS) == ("rooms", "of the year")
    assert bench.__file__.startswith(str(__import__("pathlib").Path(__file__).parents[1]))
""",
}


@dataclass(frozen=True)
class Run:
    status: int
    said: str
    records: dict[str, dict[str, Any]]


@dataclass(frozen=True)
class Repository:
    """Where it lies, and the Python that the wheel is installed for."""

    folder: Path
    python: Path

    def pytest(self, name: str, *arguments: str) -> Run:
        """Run all its tests, with results under that name."""
        results = self.folder / f"{name}.jsonl"
        status, said = self.call("-m", "pytest", f"--results={results}", *arguments)
        lines = results.read_text(encoding="utf-8").splitlines() if results.exists() else []
        return Run(status, said, {record["model"]: record for record in map(json.loads, lines)})

    def call(self, *arguments: str) -> tuple[int, str]:
        outer = ("PYTEST_", "GRADSHAPE_", "PYTHON", "COV_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
        done = subprocess.run(
            [self.python, *arguments],
            cwd=self.folder,
            env=kept | {"OMP_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    top = tmp_path_factory.mktemp("house")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(top / "dist")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = (top / "dist").glob("gradshape-*.whl")
    venv.create(top / "env", with_pip=True, symlinks=True)
    python = top / "env" / "bin" / "python"
    install = [str(python), "-I", "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(install, check=True, capture_output=True)
    # What it depends on is taken from here, and gradshape is not: that is not in such a folder but in the checkout.
    assert NEIGHBORS is not None
    others = [NEIGHBORS, *(path for path in sys.path if path.endswith("site-packages"))]
    [packages] = (top / "env" / "lib").glob("python*/site-packages")
    (packages / "others.pth").write_text("\n".join(others), encoding="utf-8")
    for path, text in FILES.items():
        (top / "house" / path).parent.mkdir(parents=True, exist_ok=True)
        (top / "house" / path).write_text(text.lstrip(), encoding="utf-8")
    return Repository(top / "house", python)


@pytest.fixture(scope="module")
def base(repository: Repository) -> Run:
    return repository.pytest("base")


def test_the_wheel_works_beside_what_the_house_has(repository: Repository, base: Run) -> None:
    assert base.status == 0, base.said
    for plugin in ("randomly", "cov", "timeout", "rerunfailures"):
        assert re.search(rf"^plugins:.*\b{plugin}-", base.said, re.MULTILINE), base.said
    assert "4 passed" in base.said
    status, place = repository.call("-c", "import gradshape; print(gradshape.__file__)")
    assert status == 0
    assert place.startswith(str(repository.python.parents[1]))
    assert {model: record["status"] for model, record in base.records.items()} == {
        "with_clipping": "ok",
        "with_filter": "ok",
        "stopped_early": "ok",
    }
    assert all(len(record["seeds"]) == 6 for record in base.records.values())


@pytest.mark.parametrize(
    ("change", "worse"),
    [
        (("weights = (MOST / norms).clamp(max=1)", "weights = torch.ones(len(x))"), "with_clipping"),
        (("kept = agrees(x, y)", "kept = slice(None)"), "with_filter"),
        (("EPOCHS = 20 ", "EPOCHS = 300 "), "stopped_early"),
        (("# The largest norm", "# What is left at most of the norm"), None),
    ],
    ids=["clipping-removed", "filter-removed", "more-epochs", "words-changed"],
)
def test_the_gate_is_red_where_training_is_easier_to_poison(
    repository: Repository, base: Run, change: tuple[str, str], worse: str | None
) -> None:
    source = FILES["bench/training.py"].lstrip()
    assert source.count(change[0]) == 1
    changed = repository.folder.with_name(worse or "same")
    shutil.copytree(repository.folder, changed)
    (changed / "bench" / "training.py").write_text(source.replace(*change), encoding="utf-8")
    new = Repository(changed, repository.python).pytest("new", f"--baseline={repository.folder / 'base.jsonl'}")
    if worse is None:
        assert new.status == 0, new.said
        return
    assert new.status == 1, new.said
    assert "5 passed" not in new.said
    gains = {
        model: record["metrics"]["rad"]["value"] - base.records[model]["metrics"]["rad"]["value"]
        for model, record in new.records.items()
    }
    assert gains[worse] > 0.02
    assert all(gain == 0 for model, gain in gains.items() if model != worse)
