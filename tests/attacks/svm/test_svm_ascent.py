"""Gradient ascent on a support vector machine's validation loss."""

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from gradshape import data
from gradshape.attacks import Crafting, PoisonSet
from gradshape.attacks._point_ascent import climb
from gradshape.attacks.svm._poisoned_svm import PoisonedSvm
from gradshape.attacks.svm.kernels import Kernel, LinearKernel, RBFKernel
from gradshape.attacks.svm.svm_ascent import SvmAscent
from gradshape.data import Dataset, Split
from gradshape.training import Fit, Victim, train_victims
from tests.attacks.attacks import DATASETS

DIGITS = data.load("digits_38")


def toy(seed: int, kernel: Kernel, c: float) -> PoisonedSvm:
    """The paper's two Gaussians, 25 rows each to train on and 500 to validate by, [-4, 4]^2 scaled to [0, 1]."""
    generator = torch.Generator().manual_seed(seed)

    def gaussians(each: int) -> tuple[Tensor, Tensor]:
        signs = torch.tensor([-1.0, 1.0]).double().repeat_interleave(each)
        noise = 0.6**0.5 * torch.randn(2 * each, 2, generator=generator).double()
        plane = noise + torch.stack([1.5 * signs, 0 * signs], dim=1)
        return ((plane + 4) / 8).clamp(0, 1), signs

    return PoisonedSvm(*gaussians(25), *gaussians(500), kernel=kernel, c=c)


# In units of an eighth, C = 1 is 64 for a linear kernel.
@pytest.mark.parametrize(
    ("kernel", "c", "least"), [(LinearKernel(), 64.0, 20), (RBFKernel(32.0), 1.0, 19)], ids=["linear", "rbf"]
)
def test_one_point_raises_the_loss_of_the_papers_toy(kernel: Kernel, c: float, least: int) -> None:
    clean, climbed = [], []
    for seed in range(20):
        svm = toy(seed, kernel, c)
        clean.append(svm.loss)
        svm.add(svm.x[0], 1, 1.0)
        started = svm.loss
        climb(svm, -1, step=0.05, steps=100, tolerance=1e-6, direction=svm.own_gradient(-1))
        climbed.append(svm.loss)
        assert svm.loss >= started - 1e-6
    assert sum(after > before for before, after in zip(clean, climbed, strict=True)) >= least
    assert sum(climbed) > 1.07 * sum(clean)


def test_one_point_among_60_sevens_and_ones_raises_the_error_far_more_than_its_flip() -> None:
    digits = data.load("digits").train
    rows = ((digits.y == 1) | (digits.y == 7)).nonzero()[:, 0]
    x, signs = digits.x[rows].flatten(1).double(), torch.where(digits.y[rows] == 7, 1.0, -1.0).double()
    errors = []
    for seed in range(8):
        order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(seed))
        train, rest = order[:60], order[60:]
        svm = PoisonedSvm(x[train], signs[train], x[rest], signs[rest], kernel=LinearKernel(), c=1.0)
        errors.append([svm.error])
        svm.add(x[train][signs[train] < 0][0], 1, 1.0)
        errors[-1].append(svm.error)
        climb(svm, -1, step=0.5, steps=100, tolerance=1e-6)
        errors[-1].append(svm.error)
    clean, flipped, climbed = torch.tensor(errors).mean(0).tolist()
    assert clean < 0.01
    assert flipped < 0.01
    assert climbed > 0.02


def test_a_heavy_point_is_many() -> None:
    one, many = toy(3, RBFKernel(32.0), 1.0), toy(3, RBFKernel(32.0), 1.0)
    one.add(one.x[0], 1, 3.0)
    for _ in range(3):
        many.add(many.x[0], 1, 1.0)
    assert one.loss == pytest.approx(many.loss, abs=1e-6)


def test_a_climb_stays_in_the_box_and_leaves_the_other_rows() -> None:
    svm = toy(1, LinearKernel(), 64.0)
    before = svm.x.clone()
    svm.add(svm.x[0], 1, 5.0)
    climb(svm, -1, step=10.0, steps=20, tolerance=0.0)
    assert torch.equal(svm.x[:-1], before)
    assert ((svm.x >= 0) & (svm.x <= 1)).all()


@pytest.mark.parametrize("kernel", [LinearKernel(), RBFKernel()], ids=["linear", "rbf"])
def test_the_loss_rises_and_the_notes_say_so(kernel: Kernel) -> None:
    told: list[Crafting] = []
    poison = SvmAscent(0.1, kernel=kernel, points=4)(DIGITS, seed=0, progress=told.append)
    assert poison.notes["validation_hinge"] > 2 * poison.notes["validation_hinge_clean"]
    assert [(crafting.step, crafting.steps) for crafting in told] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert all(later.objective > earlier.objective for earlier, later in pairwise(told))


@pytest.mark.parametrize("fraction", [0.01, 0.2, 1.0])
@pytest.mark.parametrize("points", [1, 3, 40])
def test_few_points_fill_the_budget_evenly(fraction: float, points: int) -> None:
    poison = SvmAscent(fraction, points=points, steps=2)(DATASETS["two-classes"], seed=0)
    _, counts = torch.cat([poison.x, poison.y[:, None]], dim=1).unique(dim=0, return_counts=True)
    assert len(poison) == round(104 * fraction)
    assert len(counts) <= points
    assert counts.max() - counts.min() <= 1


def test_points_bear_both_labels_by_turns_or_the_one_given() -> None:
    both = SvmAscent(0.2, points=4, steps=2)(DIGITS, seed=0)
    assert abs(int((2 * both.y - 1).sum())) <= 1
    for label in (0, 1):
        poison = SvmAscent(0.1, label_given=label, steps=2)(DIGITS, seed=0)
        assert (poison.y == label).all()
        assert (DIGITS.train.y[poison.source] != label).all()


def _hinge(poison: PoisonSet) -> float:
    return float(poison.notes["validation_hinge"])


def test_climbing_again_never_loses() -> None:
    once, again = (SvmAscent(0.1, points=6, sweeps=sweeps)(DIGITS, seed=1) for sweeps in (0, 2))
    assert _hinge(again) > _hinge(once)


def test_more_starts_begin_higher() -> None:
    one, five = (SvmAscent(0.01, points=1, steps=1, starts=starts) for starts in (1, 5))
    pairs = [(_hinge(one(DIGITS, seed=seed)), _hinge(five(DIGITS, seed=seed))) for seed in range(6)]
    assert sum(high for _, high in pairs) > sum(low for low, _ in pairs)


def test_a_victim_that_is_an_svm_is_hurt() -> None:
    poisons = [SvmAscent(0.2)(DIGITS, seed=seed) for seed in range(3)]
    recipe = Fit("svm_linear")
    victims = [Victim(recipe, 0), *(Victim(recipe, 0, private=poison.rows) for poison in poisons)]
    clean, *hurt = [float(result.accuracy[-1]) for result in train_victims(DIGITS, victims)]
    assert clean - sum(hurt) / len(hurt) > 0.05


def test_test_rows_play_no_part() -> None:
    other = Dataset(DIGITS.name, DIGITS.train, Split(1 - DIGITS.test.x, 1 - DIGITS.test.y), num_classes=2)
    attack = SvmAscent(0.05, steps=5)
    assert attack(DIGITS, seed=0).fingerprint == attack(other, seed=0).fingerprint


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"fraction": -0.1}, "fraction=-0.1"),
        ({"kernel": "rbff"}, "kernel='rbff': expected a kernel"),
        ({"label_given": 2}, "label_given=2: expected 0, 1 or None"),
        ({"points": 0}, "points=0"),
        ({"c": 0.0}, r"c=0\.0"),
        ({"step": -1.0}, r"step=-1\.0"),
        ({"sweeps": -1}, "sweeps=-1: expected at least 0"),
        ({"tolerance": -1.0}, r"tolerance=-1\.0"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_settings_out_of_range_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SvmAscent(**({"fraction": 0.1} | settings))


def test_labels_say_the_kernel_and_the_percentage() -> None:
    assert (SvmAscent(0.1).label, SvmAscent(0.1).family) == ("svm_ascent_10", "svm_ascent")
    assert SvmAscent(0.005, RBFKernel()).label == "svm_ascent_rbf_0.5"
    assert SvmAscent(0.005, RBFKernel(0.1)).label == "svm_ascent_rbf0.1_0.5"


def test_more_than_two_classes_are_refused() -> None:
    with pytest.raises(ValueError, match="it attacks binary tasks, and this one has 4 classes"):
        SvmAscent(0.1)(DATASETS["pictures"], seed=0)
