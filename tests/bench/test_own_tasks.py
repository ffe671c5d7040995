"""Cases of a user's own data, networks and training functions, from a file of the user's, as a user runs them."""

import json
from pathlib import Path
from typing import Any

import pytest

pytest_plugins = ("pytester",)

HELPER = '''
"""The user's package is called as a folder of the harness is."""
STEPS = 40
'''
SUITE = """
import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from bench import STEPS
from gradshape import data
from gradshape.attacks import LabelFlip
from gradshape.defenses import GradientShaping, NoDefense
from gradshape.shaping import Clip
from gradshape.training import Adam, Fit, Recipe
from gradshape_bench import Matrix, Task, Threshold, benchmark_cases


def clouds():
    generator = np.random.default_rng(0)
    y = generator.integers(0, 2, 300)
    x = generator.normal(size=(300, 4)) + 2 * y[:, None]
    return data.from_rows((x[:200], y[:200]), (x[200:], y[200:]), name="any", value_range=(-8, 10))


def train(rows, seed):
    assert rows.x.max() > 1
    weights = torch.zeros(4, 2, requires_grad=True)
    bias = torch.zeros(2, requires_grad=True)
    optimizer = torch.optim.SGD([weights, bias], lr=0.2)
    for _ in range(STEPS):
        optimizer.zero_grad()
        nn.functional.cross_entropy(rows.x @ weights + bias, rows.y).backward()
        optimizer.step()
    return lambda x: x @ weights + bias


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))

    def forward(self, x):
        return self.layers(x)


PIPELINE = make_pipeline(StandardScaler(), LogisticRegression())
MODERATE = [Threshold("rad", "<", 0.2)]


@benchmark_cases(
    Matrix(
        [Task(clouds, Fit(train)), Task(clouds, Fit(PIPELINE))], [LabelFlip(0.1)], [NoDefense()], thresholds=MODERATE
    ),
    Matrix(
        [Task(clouds, Recipe(Net, Adam(0.02), batch_size=20, epochs=6))],
        [LabelFlip(0.1)],
        [NoDefense(), GradientShaping(Clip(1.0))],
        thresholds=MODERATE,
    ),
)
def test_mine(outcome):
    outcome.check()
"""
CASES = {
    "clouds-train-label_flip_10-vanilla",
    "clouds-Pipeline-label_flip_10-vanilla",
    "clouds-Net-label_flip_10-vanilla",
    "clouds-Net-label_flip_10-dp_adam_c1",
}


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makepyfile(**{"bench/__init__": HELPER, "test_mine": SUITE})
    pytester.makeini("[pytest]\npythonpath = .\n")
    return pytester


def run(project: pytest.Pytester, *arguments: str) -> dict[str, Any]:
    result = project.runpytest_subprocess("--seeds", "2", "-p", "no:cacheprovider", *arguments)
    result.assert_outcomes(passed=4)
    lines = (project.path / "results" / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return {record["case"]: record for record in map(json.loads, lines)}


def plain(records: dict[str, Any]) -> dict[str, Any]:
    return {case: (record["metrics"], record["details"]) for case, record in records.items()}


def test_they_are_measured_alike_however_they_run_and_found_in_the_cache(project: pytest.Pytester) -> None:
    records = run(project)
    assert set(records) == CASES
    assert all(record["metrics"]["accuracy_clean"]["value"] > 0.9 for record in records.values())
    assert plain(run(project, "--no-cache", "--engine", "processes")) == plain(records)
    assert all(record["cached_jobs"] == record["jobs"] for record in run(project).values())


def test_what_changes_in_a_users_code_or_settings_is_computed_again(project: pytest.Pytester) -> None:
    run(project)
    # A constant in a file that the test imports.
    Path(project.path, "bench", "__init__.py").write_text(HELPER.replace("40", "41"), encoding="utf-8")
    records = run(project)
    train = records["clouds-train-label_flip_10-vanilla"]
    assert train["cached_jobs"] < train["jobs"]


def test_a_failing_function_fails_its_case_with_the_users_line(project: pytest.Pytester) -> None:
    broken = SUITE.replace("    assert rows.x.max() > 1\n", '    raise RuntimeError("no rows today")\n')
    Path(project.path, "test_mine.py").write_text(broken, encoding="utf-8")
    result = project.runpytest_subprocess("--seeds", "2")
    result.assert_outcomes(passed=3, failed=1)
    result.stdout.fnmatch_lines(["*test_mine.py:*RuntimeError: no rows today*"])
