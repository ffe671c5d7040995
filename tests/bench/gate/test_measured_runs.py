"""The command on runs that were really measured: a recipe that lost its clipping is caught, and other seeds are not."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from gradshape.attacks import LabelFlip, PoisonSet, ProportionalAttack, VictimView
from gradshape.defenses import Defense, GradientShaping
from gradshape.shaping import Clip
from gradshape.training import Adam, AnyRecipe, Recipe
from gradshape_bench.__main__ import main
from gradshape_bench.case import Case, Scale, Task
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.session import BenchSession, SessionPart
from tests.bench.sample import settings_in


@dataclass(frozen=True)
class FarRows(ProportionalAttack):
    """Rows far from all others under the wrong label, which have much larger gradients."""

    threat = LabelFlip.threat

    @property
    def label(self) -> str:
        return f"far_{100 * self.fraction:g}"

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        x = 1 - 0.1 * torch.rand((count, victim.train.x.shape[1]), generator=generator)
        return PoisonSet.added(x, torch.zeros(count, dtype=torch.int64))


@dataclass(frozen=True)
class Mine(Defense):
    """Somebody's recipe, which clips gradients, until a change loses that."""

    clips: bool

    assumptions = GradientShaping.assumptions

    def label_for(self, recipe: AnyRecipe) -> str:
        return "mine"

    def shape(self, recipe: AnyRecipe) -> AnyRecipe:
        assert isinstance(recipe, Recipe)
        shaped = GradientShaping(Clip(0.05), rate=10).shape(recipe)
        return shaped if self.clips else replace(shaped, shaper=recipe.shaper)


Measure = Callable[..., str]


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Measure:
    """Measure both cases with a recipe that clips or does not, by some seeds; returns the path of the results."""
    folder = tmp_path_factory.mktemp("measured")
    generator = np.random.default_rng(0)
    y = np.arange(600) % 2
    x = np.clip(0.1 + 0.03 * (2 * y[:, None] - 1) + 0.03 * generator.normal(size=(600, 4)), 0, 1).astype("float32")
    data = folder / "near.npz"
    np.savez(data, x_train=x[:300], y_train=y[:300], x_test=x[300:], y_test=y[300:])
    task = Task(str(data), Recipe("lr", Adam(0.05), batch_size=30, epochs=20))

    @cache
    def measure(clips: bool, seeds: tuple[int, ...], *, cached: bool = True) -> str:
        cases = [
            Case(task, attack, Mine(clips), scale=Scale.SMOKE, seeds=seeds)
            for attack in (FarRows(0.06), LabelFlip(0.1))
        ]
        settings = replace(settings_in(folder), use_cache=cached)
        session = BenchSession(cases, settings, SessionPart(folder / "scratch"), folder, None)
        results = ResultsFile(folder / f"{clips}-{seeds}-{cached}.jsonl")
        for case in cases:
            results.append(session.run(case))
        session.close()
        return str(results.path)

    return measure


def test_lost_clipping_is_caught(measured: Measure, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", measured(True, (0, 1, 2)), measured(False, (0, 1, 2))]) == 1
    output = capsys.readouterr().out
    assert "**Regression**" in output
    (row,) = [line for line in output.splitlines() if line.startswith("| ✗ worse")]
    assert "far_6-mine" in row
    assert "by seed (3)" in row


def test_lost_clipping_is_caught_by_other_seeds_too(measured: Measure) -> None:
    assert main(["compare", measured(True, (0, 1, 2)), measured(False, (3, 4, 5))]) == 1


def test_lost_clipping_is_caught_by_a_baseline(measured: Measure, tmp_path: Path) -> None:
    frozen = str(tmp_path / "baseline.json")
    assert main(["baseline", measured(True, (0, 1, 2)), "--output", frozen]) == 0
    assert main(["compare", frozen, measured(True, (0, 1, 2))]) == 0
    assert main(["compare", frozen, measured(False, (0, 1, 2))]) == 1


def test_regained_clipping_is_no_regression(measured: Measure, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", measured(False, (0, 1, 2)), measured(True, (0, 1, 2))]) == 0
    assert "✓ better" in capsys.readouterr().out


def test_same_recipe_and_seeds_are_the_same_to_the_last_digit(
    measured: Measure, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", measured(True, (0, 1, 2)), measured(True, (0, 1, 2), cached=False)]) == 0
    assert capsys.readouterr().out == "**No regression**: 2 cases: 2 same (2 to the last digit).\n"


@pytest.mark.parametrize("clips", [True, False])
def test_same_recipe_and_other_seeds_are_no_regression(measured: Measure, clips: bool) -> None:
    assert main(["compare", measured(clips, (0, 1, 2)), measured(clips, (3, 4, 5))]) == 0
