"""Shapers in use: what a stack of them does is what each does alone."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gradshape.shaping import AdaptiveNoise, Clip, Noise, QuantileClip, Shaper, ShaperStack, Statistic
from tests.shaping.parts import SHAPERS
from tests.training.by_hand import ShapingByHand

CPU = torch.device("cpu")


def stack_of(shapers: Sequence[Shaper], *, rows: int | None = None) -> ShaperStack:
    return ShaperStack(shapers, device=CPU, dtype=torch.float64, rows_per_step=rows)


@dataclass(frozen=True)
class Constant:
    """Weighs all rows alike, by a field that it does not compare by."""

    weight: float = field(compare=False)
    label: str = "constant"

    def weights(self, norms: Tensor) -> Tensor:
        return torch.full_like(norms, self.weight)


def test_parts_that_compare_equal_weigh_as_each_does() -> None:
    shapers = [Shaper((Constant(weight),)) for weight in (0.25, 0.5)]
    weights = stack_of(shapers).weights(torch.ones(1, 2, 3, dtype=torch.float64))
    assert weights.unique(dim=1).tolist() == [[0.25], [0.5]]


def steps(count: int, layers: int, victims: int, rows: int, *, seed: int = 0) -> Tensor:
    """Squared norms ``(count, L, K, B)``."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, layers, victims, rows, generator=generator, dtype=torch.float64).square()


def run(stack: ShaperStack, squares: Tensor, member: Tensor | None = None, *, epoch: int = 2) -> list[Tensor]:
    """Weights ``(L, K, B)`` of every step and the noise after it; an epoch is ``epoch`` steps."""
    out = []
    for number, step in enumerate(squares):
        out.append(stack.weights(step, member).expand(step.shape))
        stack.observe(step, member)
        out.append(stack.noise_std())
        if number % epoch == epoch - 1:
            stack.end_epoch()
    return out


@given(
    shapers=st.lists(st.sampled_from(SHAPERS), min_size=1, max_size=6),
    layers=st.integers(1, 3),
    rows=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_every_victim_is_shaped_as_by_hand(shapers: list[Shaper], layers: int, rows: int, seed: int) -> None:
    squares = steps(5, layers, len(shapers), rows, seed=seed)
    results = run(stack_of(shapers), squares)
    for k, shaper in enumerate(shapers):
        alone = ShapingByHand(shaper)
        for number, step in enumerate(squares):
            weights = alone.step(step[:, k].sqrt().T.tolist())
            expected = torch.tensor(weights, dtype=torch.float64).T
            torch.testing.assert_close(results[2 * number][:, k], expected, rtol=1e-9, atol=1e-12)
            std = math.hypot(alone.noise_std(), shaper.noise_std)
            assert float(results[2 * number + 1][k]) == pytest.approx(std, rel=1e-9)
            if number % 2 == 1:
                alone.end_epoch()


@given(shapers=st.lists(st.sampled_from(SHAPERS), min_size=1, max_size=6), data=st.data())
def test_shapers_see_their_own_batches_alone(shapers: list[Shaper], data: st.DataObject) -> None:
    own, others = 3, data.draw(st.integers(0, 3))
    squares = steps(5, 2, len(shapers), own + others)
    permutations = [data.draw(st.permutations(range(own + others))) for _ in shapers]
    places = torch.tensor(permutations)[:, :own].sort(dim=1).values
    member = torch.zeros(len(shapers), own + others).scatter(1, places, 1)
    of_own = squares.gather(3, places.expand(5, 2, -1, -1))
    expected = run(stack_of(shapers), of_own)
    for rows in (None, own):
        got = run(stack_of(shapers, rows=rows), squares, member)
        for number in range(5):
            weights = got[2 * number].gather(2, places.expand(2, -1, -1))
            assert torch.equal(weights, expected[2 * number])
            assert torch.equal(got[2 * number + 1], expected[2 * number + 1])


@given(
    shapers=st.lists(st.sampled_from(SHAPERS), min_size=1, max_size=6),
    after=st.integers(0, 5),
    data=st.data(),
)
def test_those_that_stay_go_on_as_if_nothing_had_happened(
    shapers: list[Shaper], after: int, data: st.DataObject
) -> None:
    kept = data.draw(st.permutations(range(len(shapers))))[: data.draw(st.integers(1, len(shapers)))]
    squares = steps(6, 2, len(shapers), 4)
    whole = run(stack_of(shapers), squares, epoch=3)
    stack = stack_of(shapers)
    for number, step in enumerate(squares):
        if number == after:
            stack.keep(kept)
        now = step if number < after else step[:, kept]
        weights = stack.weights(now).expand(now.shape)
        stack.observe(now)
        expected = whole[2 * number : 2 * number + 2]
        if number >= after:
            expected = [expected[0][:, kept], expected[1][kept]]
        assert torch.equal(weights, expected[0])
        assert torch.equal(stack.noise_std(), expected[1])
        if number % 3 == 2:
            stack.end_epoch()


@pytest.mark.parametrize("shaper", SHAPERS, ids=lambda shaper: shaper.label or "none")
def test_a_stack_knows_what_it_needs(shaper: Shaper) -> None:
    stack = stack_of([Shaper(), shaper])
    assert (stack.needs_norms, stack.per_layer) == (shaper.needs_norms, shaper.per_layer)
    assert stack.adaptive_noise == bool(shaper.adaptive_noises)
    assert stack.weights(torch.ones(2, 2, 3, dtype=torch.float64)).dim() == 2 + shaper.per_layer


@pytest.mark.parametrize("shaper", SHAPERS, ids=lambda shaper: shaper.label or "none")
def test_a_stack_knows_whose_weights_are_samplewise(shaper: Shaper) -> None:
    assert stack_of([shaper]).samplewise == ("share" not in shaper.label)


def _constant(norm: float, *, rows: int = 8) -> Tensor:
    return torch.full((1, 1, rows), norm**2, dtype=torch.float64)


@pytest.mark.parametrize("norm", [0.01, 1.0, 50.0])
def test_a_quantile_clip_settles_around_norms_that_stay_the_same(norm: float) -> None:
    stack = stack_of([Shaper((QuantileClip(0.5, start=1.0, rate=0.2),))])
    for _ in range(100):
        stack.observe(_constant(norm))
    limit = float(stack.weights(_constant(1e6))[0, 0]) * 1e6
    assert norm * math.exp(-0.11) <= limit <= norm * math.exp(0.11)


def test_a_quantile_clip_leaves_the_quantile_of_the_gradients_alone() -> None:
    stack = stack_of([Shaper((QuantileClip(0.3, start=1.0, rate=0.05),))])
    generator = torch.Generator().manual_seed(0)
    kept = []
    for number in range(600):
        squares = torch.rand(1, 1, 100, generator=generator, dtype=torch.float64).exp()
        if number > 200:
            kept.append(float((stack.weights(squares) == 1).double().mean()))
        stack.observe(squares)
    assert sum(kept) / len(kept) == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("quantile", [0.0, 1.0])
def test_a_quantile_clip_stays_a_positive_number(quantile: float) -> None:
    stack = stack_of([Shaper((QuantileClip(quantile, rate=100.0),))])
    for _ in range(50):
        stack.observe(_constant(1e150 if quantile else 0.0))
    weights = stack.weights(_constant(1.0))
    assert weights.isfinite().all()
    assert (weights > 0).all()


def _epoch_std(noise: AdaptiveNoise, norms: Tensor) -> float:
    stack = stack_of([Shaper((noise,))])
    for step in norms.split(5):
        stack.observe(step.square().view(1, 1, -1))
    stack.end_epoch()
    return float(stack.noise_std()[0])


both_statistics = pytest.mark.parametrize("statistic", list(Statistic), ids=lambda statistic: statistic.value)


@both_statistics
@given(scale=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_scaled_gradients_and_bounds_scale_the_noise(statistic: Statistic, scale: float, seed: int) -> None:
    norms = torch.rand(20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    plain = AdaptiveNoise(0.3, low=0.1, high=0.2, max_norm=0.8, statistic=statistic)
    scaled = AdaptiveNoise(0.3, low=0.1 * scale, high=0.2 * scale, max_norm=0.8 * scale, statistic=statistic)
    assert _epoch_std(scaled, norms * scale) == pytest.approx(scale * _epoch_std(plain, norms), rel=1e-9)


@both_statistics
def test_vanishing_gradients_leave_the_least_noise(statistic: Statistic) -> None:
    noise = AdaptiveNoise(0.3, low=0.05, statistic=statistic)
    stds = [_epoch_std(noise, torch.full((20,), norm, dtype=torch.float64)) for norm in (1.0, 0.1, 1e-3, 0.0)]
    assert stds == [0.3, 0.05, 0.05, 0.05]


@both_statistics
@given(poison=st.floats(0, 1e9), seed=st.integers(0, 99))
def test_one_poison_moves_the_noise_by_its_share_at_most(statistic: Statistic, poison: float, seed: int) -> None:
    norms = torch.rand(25, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 2
    poisoned = norms.clone()
    poisoned[7] = poison
    noise = AdaptiveNoise(1.0, max_norm=1.5, statistic=statistic)
    moved = abs(_epoch_std(noise, poisoned) - _epoch_std(noise, norms))
    if statistic is Statistic.MEAN:
        assert moved <= 1.5 / 25 + 1e-12
    else:
        middle = norms.clamp(max=1.5).sort().values[11:14]
        assert moved <= float(middle[2] - middle[0])


def test_noise_behind_a_clip_sees_what_the_clip_leaves() -> None:
    stack = stack_of([Clip(4.0) | AdaptiveNoise(0.01)])
    stack.observe(_constant(1e9))
    assert float(stack.noise_std()[0]) == pytest.approx(0.04)


def test_the_first_epochs_noise_is_that_of_the_rows_so_far_or_what_is_given() -> None:
    stack = stack_of([Shaper((AdaptiveNoise(0.5),)), Shaper((AdaptiveNoise(0.5, start=7.0),)), Shaper((Noise(3.0),))])
    seen = []
    for norm in (1.0, 3.0):
        stack.observe(_constant(norm).expand(1, 3, -1))
        seen.append(stack.noise_std().tolist())
    stack.end_epoch()
    stack.observe(_constant(99.0).expand(1, 3, -1))
    assert [*seen, stack.noise_std().tolist()] == [[0.5, 7.0, 3.0], [1.0, 7.0, 3.0], [1.0, 1.0, 3.0]]


def test_a_norm_that_overflows_leaves_plain_training_alone() -> None:
    stack = ShaperStack([Shaper(), Shaper((Clip(math.inf),))], device=CPU, dtype=torch.float32)
    assert stack.weights(torch.full((1, 2, 1), torch.inf)).flatten().tolist() == [1, 1]
