"""The noise on the gradient."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from torch import Tensor

from gradshape.shaping import AdaptiveNoise, Clip, Noise, Shaper, Statistic
from gradshape.training import SGD, Recipe, Victim, train_victims
from gradshape.training._noise import NoiseBlocks
from gradshape.training.plan import family_of
from gradshape.training.workload import Workload, initial_model
from tests.clipping.naive import PER_SAMPLE_LOSS, norm, per_sample_gradients
from tests.training.by_hand import ShapingByHand
from tests.training.samples import ALL_SHAPERS, assert_results_equal, blobs

DATA = blobs(rows=30, shape=(12,), classes=10)
BATCH, LR, STD = 30, 0.5, 0.8
ONE_STEP = Recipe("lr", SGD(LR), batch_size=BATCH, epochs=1)


def _drawn(seeds: list[int], shaper: Shaper, *, stacked: bool = True, dtype: torch.dtype = torch.float64) -> Tensor:
    """The noise of one step as training makes it, from where it leads: ``(victims, parameters)``."""
    quiet = Shaper(tuple(part for part in shaper.parts if not isinstance(part, Noise)))
    victims = [Victim(ONE_STEP.with_shaper(s), seed) for s in (quiet, shaper) for seed in seeds]
    results = train_victims(DATA, victims, stacked=stacked, dtype=dtype)
    flat = torch.stack([torch.cat([p.flatten() for p in (result.last or {}).values()]) for result in results])
    without, with_noise = flat.double().chunk(2)
    return (without - with_noise) / LR


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("shaper", [Shaper((Noise(STD),)), Clip(0.3) | Noise(STD)], ids=["plain", "clipped"])
def test_the_noise_of_a_step_has_the_std_on_the_sum_over_the_batch_size(shaper: Shaper, stacked: bool) -> None:
    noise = _drawn(list(range(30)), shaper, stacked=stacked).flatten()
    statistic = float((noise / (STD / BATCH)).square().sum())
    low, high = stats.chi2.interval(1 - 2e-4, df=len(noise))
    assert low < statistic < high
    assert stats.kstest((noise / (STD / BATCH)).numpy(), "norm").pvalue > 1e-3


def test_several_noises_add_their_variances() -> None:
    noise = _drawn(list(range(30)), Noise(3) | Noise(4)).flatten() / (5 / BATCH)
    low, high = stats.chi2.interval(1 - 2e-4, df=len(noise))
    assert low < float(noise.square().sum()) < high


def test_noise_does_not_depend_on_the_stack() -> None:
    shaper = Shaper((Noise(STD),))
    together, alone = _drawn([1, 2, 3], shaper), _drawn([2], shaper)
    torch.testing.assert_close(together[1:2], alone, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(alone, _drawn([2], shaper, stacked=False), rtol=1e-12, atol=1e-12)


def test_noise_of_other_seeds_is_independent() -> None:
    one, other = _drawn([1, 2], Shaper((Noise(STD),)))
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 4 / len(one) ** 0.5


def test_noise_is_fresh_in_every_step_and_every_block() -> None:
    blocks = NoiseBlocks([Shaper((Noise(1),))], [0], size=1 << 15)
    like = torch.empty(0)
    draws = torch.cat([blocks.draw(divisor=1, like=like) for _ in range(2)]).squeeze(1)
    assert len(draws) == 4
    assert (torch.corrcoef(draws) - torch.eye(4)).abs().max() < 0.03


def test_noise_is_the_same_numbers_in_every_dtype() -> None:
    shapers = [Shaper((Noise(std),)) for std in (0.1, 3.0)]
    single, double = (
        NoiseBlocks(shapers, [0, 1], size=100).draw(divisor=7, like=torch.empty(0, dtype=dtype))
        for dtype in (torch.float32, torch.float64)
    )
    assert torch.equal(single.double(), double)
    shaper = Shaper((Noise(STD),))
    torch.testing.assert_close(_drawn([1], shaper, dtype=torch.float32), _drawn([1], shaper), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("size", [1, 100, 1 << 16, (1 << 16) + 1, 1 << 18])
def test_a_block_covers_at_least_one_step(size: int) -> None:
    blocks = NoiseBlocks([Shaper((Noise(1),))], [0], size)
    assert blocks.draw(divisor=1, like=torch.empty(0)).shape == (blocks.steps, 1, size)
    assert blocks.steps >= 1


def _adaptive_std(shaper: Shaper, *, stacked: bool) -> tuple[Tensor, float]:
    """The noise of one step of many victims, each over the deviation that it should have; and how they vary."""
    quiet = Shaper(shaper.weighting)
    seeds = list(range(30))
    victims = [Victim(ONE_STEP.with_shaper(s), seed, order_seed=0) for s in (quiet, shaper) for seed in seeds]
    results = train_victims(DATA, victims, stacked=stacked, dtype=torch.float64)
    flat = torch.stack([torch.cat([p.flatten() for p in (result.last or {}).values()]) for result in results])
    without, with_noise = flat.chunk(2)
    noise = (without - with_noise) / LR
    stds = []
    for seed in seeds:
        model = initial_model(DATA, Victim(ONE_STEP, seed)).double()
        samples = per_sample_gradients(model, PER_SAMPLE_LOSS, DATA.train.x.double(), DATA.train.y)
        shaping = ShapingByHand(shaper)
        shaping.step([[float(norm(sample))] for sample in samples])
        stds.append(shaping.noise_std() / BATCH)
    expected = torch.tensor(stds, dtype=torch.float64)
    return noise / expected.unsqueeze(1), float(expected.max() / expected.min())


@pytest.mark.parametrize("stacked", [True, False])
@pytest.mark.parametrize("statistic", list(Statistic), ids=lambda statistic: statistic.value)
def test_noise_that_follows_the_norms_has_the_std_that_they_give(statistic: Statistic, stacked: bool) -> None:
    shaper = Clip(0.9) | AdaptiveNoise(0.5, statistic=statistic)
    unit, spread = _adaptive_std(shaper, stacked=stacked)
    low, high = stats.chi2.interval(1 - 2e-4, df=unit.numel())
    assert low < float(unit.square().sum()) < high
    assert stats.kstest(unit.flatten().numpy(), "norm").pvalue > 1e-3
    assert spread >= 1


def test_static_noise_beside_noise_that_follows_norms_keeps_its_bits() -> None:
    static, adaptive = Clip(0.3) | Noise(STD), Clip(0.3) | AdaptiveNoise(0.5)
    recipe = replace(ONE_STEP, batch_size=7, epochs=2)
    victims = [Victim(recipe.with_shaper(shaper), 1, order_seed=0) for shaper in (static, adaptive, static)]
    beside, _, again = train_victims(DATA, victims)
    [alone] = train_victims(DATA, victims[:1])
    assert_results_equal([beside, again], [alone, alone], tolerance=0)


@given(data=st.data())
@settings(max_examples=10)
def test_no_number_depends_on_how_victims_are_divided_into_stacks(data: st.DataObject) -> None:
    recipe = Recipe("lr", SGD(0.3, momentum=0.5), batch_size=8, epochs=2)
    victims = [Victim(recipe.with_shaper(shaper), k, order_seed=1) for k, shaper in enumerate(ALL_SHAPERS.values())]
    order = data.draw(st.permutations(range(len(victims))))
    most = data.draw(st.integers(1, len(victims)))
    whole = train_victims(DATA, victims)
    mine = [victims[k] for k in order]
    work = Workload(DATA, mine)
    needs = family_of(DATA, mine[0], work.device).needs(work, mine)
    budget = needs.common + most * needs.per_victim
    divided = train_victims(DATA, mine, max_memory=budget)
    assert_results_equal(divided, [whole[k] for k in order], tolerance=0)
