"""What holds of every part, and what of one."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gradshape import _digest
from gradshape.shaping import AdaptiveNoise, Clip, Noise, Normalize, Part, QuantileClip, Shaper
from gradshape.testing import Check, shaper_checks
from tests.shaping.parts import DAMP, NOISES, PARTS, SHAPERS, SHARE

each_part = pytest.mark.parametrize("part", PARTS, ids=lambda part: part.label)
norms_of = st.lists(st.just(0.0) | st.floats(1e-6, 1e6), min_size=1, max_size=6).map(
    lambda values: torch.tensor(values, dtype=torch.float64)
)


@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=f"{shaper.label or 'none'}-{check}")
        for shaper in SHAPERS
        for check in shaper_checks(shaper)
    ],
)
def test_every_shaper_keeps_its_promises(check: Check) -> None:
    check()


def test_labels_and_names_are_distinct() -> None:
    assert len({part.label for part in PARTS}) == len(PARTS)
    assert len({_digest.name(part) for part in PARTS}) == len(PARTS)
    assert len(set(PARTS)) == len(PARTS)


@each_part
def test_parts_compose_by_a_bar(part: Part) -> None:
    assert (Clip(1.0) | part) == Shaper((Clip(1.0), part))
    assert (part | Noise(1.0)) == Shaper((part, Noise(1.0)))  # type: ignore[operator]


@given(norms=norms_of, max_norm=st.floats(0.01, 100), stabilizer=st.floats(1e-3, 1))
def test_normalized_gradients_are_shorter_than_the_norm_and_keep_their_order(
    norms: Tensor, max_norm: float, stabilizer: float
) -> None:
    left = Normalize(max_norm, stabilizer).weights(norms) * norms
    assert (left < max_norm).all()
    assert (left[norms.argsort()].diff() >= 0).all()


@given(norms=norms_of, max_norm=st.just(0.0) | st.floats(1e-3, 100), layers=st.integers(1, 5))
def test_clipping_by_layer_keeps_the_whole_within_the_norm(norms: Tensor, max_norm: float, layers: int) -> None:
    of_layers = norms * torch.rand(layers, 1, dtype=torch.float64, generator=torch.Generator().manual_seed(layers))
    left = Clip(max_norm, per_layer=True).weights(of_layers) * of_layers
    assert (left.norm(dim=0) <= max_norm * (1 + 1e-12)).all()
    assert (left <= max_norm / layers**0.5 * (1 + 1e-12)).all()


def test_one_layer_is_clipped_as_the_whole() -> None:
    norms = torch.tensor([[0.0, 1.0, 3.0, 9.0]])
    assert torch.equal(Clip(2.0, per_layer=True).weights(norms), Clip(2.0).weights(norms))


@pytest.mark.parametrize(
    ("shaper", "sensitivity"),
    [
        (Shaper(), math.inf),
        (Shaper((Noise(1),)), math.inf),
        (Clip(4) | Noise(1), 4.0),
        (Clip(4) | Clip(2), 2.0),
        (Clip(2, per_layer=True) | Clip(4), 2.0),
        (Shaper((Normalize(3.0),)), 3.0),
        (Clip(1) | Normalize(3.0, stabilizer=0.5), 2.0),
        (Normalize(3.0) | Clip(1), 1.0),
        (Clip(4) | AdaptiveNoise(1.0), 4.0),
        (Clip(4) | QuantileClip(0.5), math.inf),
        (QuantileClip(0.5) | Clip(4), math.inf),
        (Clip(4) | DAMP, math.inf),
        (DAMP | Clip(4), 4.0),
        (SHARE | Clip(4), math.inf),
    ],
    ids=lambda value: value.label or "none" if isinstance(value, Shaper) else "",
)
def test_sensitivity_is_what_one_sample_can_do(shaper: Shaper, sensitivity: float) -> None:
    assert shaper.sensitivity == pytest.approx(sensitivity)


@each_part
def test_a_part_that_learns_makes_a_shaper_adaptive(part: Part) -> None:
    assert Shaper((part,)).adaptive == isinstance(part, QuantileClip | AdaptiveNoise)


@pytest.mark.parametrize("noise", NOISES, ids=lambda part: part.label)
def test_samples_cannot_be_weighted_after_any_noise(noise: Part) -> None:
    with pytest.raises(ValueError, match="follows a Noise"):
        Shaper((noise, Clip(1)))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Normalize(0.0), r"max_norm=0\.0"),
        (lambda: Normalize(stabilizer=math.inf), "stabilizer=inf"),
        (lambda: QuantileClip(1.5), r"quantile=1\.5"),
        (lambda: QuantileClip(0.5, start=0.0), r"start=0\.0"),
        (lambda: QuantileClip(0.5, rate=-1.0), r"rate=-1\.0"),
        (lambda: AdaptiveNoise(0.0), r"ratio=0\.0"),
        (lambda: AdaptiveNoise(1.0, low=-1.0), r"low=-1\.0"),
        (lambda: AdaptiveNoise(1.0, low=2.0, high=1.0), r"high=1\.0: expected at least low=2\.0"),
        (lambda: AdaptiveNoise(1.0, high=math.nan), "high=nan"),
        (lambda: AdaptiveNoise(1.0, max_norm=0.0), r"max_norm=0\.0"),
        (lambda: AdaptiveNoise(1.0, start=math.inf), "start=inf"),
    ],
    ids=range(11),
)
def test_a_number_out_of_range_is_named(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ValueError, match=message):
        make()


def test_a_statistic_is_one_of_the_known_ones() -> None:
    with pytest.raises(TypeError, match="statistic='mean': expected one of"):
        AdaptiveNoise(1.0, statistic="mean")  # type: ignore[arg-type]
