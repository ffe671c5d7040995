import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from gradshape.shaping import Clip, Noise, Shaper, ShaperStack

CPU = torch.device("cpu")
norm_lists = st.lists(st.just(0.0) | st.floats(1e-6, 1e6), min_size=1, max_size=6)
limits = st.sampled_from([0.0, math.inf]) | st.floats(1e-3, 1e3)


@dataclass(frozen=True)
class Normalise:
    """A part of a user's own: every gradient to norm ``size``."""

    size: float

    @property
    def label(self) -> str:
        return f"n{self.size:g}"

    def weights(self, norms: Tensor) -> Tensor:
        return torch.where(norms > 0, self.size / norms, 0.0)


@dataclass(frozen=True)
class DropLargest:
    """A part whose weights depend on all norms of a batch."""

    @property
    def label(self) -> str:
        return "drop"

    def weights(self, norms: Tensor) -> Tensor:
        # Norms that differ by rounding are equal.
        return (norms < (1 - 1e-9) * norms.amax(dim=-1, keepdim=True)).to(norms.dtype)


def _double(values: list[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_parts_compose_in_order_and_flatten() -> None:
    one, two, three = Clip(4), Normalise(1), Noise(0.1)
    expected = Shaper((one, two, three))
    assert one | two | three == expected
    assert one | (Shaper((two,)) | three) == expected
    assert Shaper() | one | Shaper((two, three)) == expected


def test_composing_with_nothing_changes_nothing() -> None:
    shaper = Clip(4) | Noise(0.1)
    assert Shaper() | shaper == shaper | Shaper() == shaper


def test_shapers_are_values() -> None:
    assert Clip(4) | Noise(0.1) == Clip(4.0) | Noise(0.1)
    assert hash(Clip(4) | Noise(0.1)) == hash(Clip(4.0) | Noise(0.1))
    assert len({Shaper(), Clip(1) | Noise(1), Clip(2) | Noise(1), Noise(1) | Noise(1), Clip(1) | Clip(1)}) == 5


@pytest.mark.parametrize(
    ("shaper", "label"),
    [
        (Shaper(), ""),
        (Shaper((Clip(0.1),)), "c0.1"),
        (Clip(4) | Noise(0.025), "c4_s0.025"),
        (Clip(math.inf) | Noise(1e-7), "cinf_s1e-07"),
        (Clip(1e6) | Noise(2e9), "c1e06_s2e09"),
        (Clip(8) | Normalise(2) | Noise(1), "c8_n2_s1"),
    ],
    ids=lambda value: value or "none" if isinstance(value, str) else "",
)
def test_the_label_joins_the_parts(shaper: Shaper, label: str) -> None:
    assert shaper.label == label


@pytest.mark.parametrize(
    ("shaper", "vanilla", "reweights", "std"),
    [
        (Shaper(), True, False, 0.0),
        (Shaper((Noise(0),)), True, False, 0.0),
        (Shaper((Noise(0.5),)), False, False, 0.5),
        (Shaper((Clip(1),)), False, True, 0.0),
        (Clip(math.inf) | Noise(0), False, True, 0.0),
        (Clip(1) | Noise(3) | Noise(4), False, True, 5.0),
    ],
    ids=["nothing", "no-noise", "noise", "clip", "no-limit", "noises"],
)
def test_a_shaper_knows_what_it_does(shaper: Shaper, vanilla: bool, reweights: bool, std: float) -> None:
    assert (shaper.is_vanilla, shaper.reweights, shaper.noise_std) == (vanilla, reweights, std)


@given(stds=st.lists(st.floats(0, 1e3), max_size=4))
def test_variances_of_noises_add(stds: list[float]) -> None:
    assert Shaper(tuple(map(Noise, stds))).noise_std == pytest.approx(math.hypot(*stds), abs=1e-12)


@pytest.mark.parametrize("max_norm", [-1.0, math.nan, -math.inf])
def test_a_clipping_norm_that_is_none_is_named(max_norm: float) -> None:
    with pytest.raises(ValueError, match=f"max_norm={max_norm!r}"):
        Clip(max_norm)


@pytest.mark.parametrize("std", [-1.0, math.nan, math.inf])
def test_a_deviation_that_is_none_is_named(std: float) -> None:
    with pytest.raises(ValueError, match=f"std={std!r}"):
        Noise(std)


@pytest.mark.parametrize("part", [4.0, "clip", None, len], ids=str)
def test_something_else_is_no_part(part: object) -> None:
    with pytest.raises(TypeError, match="expected Noise or an object with label and weights"):
        Shaper((part,))  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [Clip(1), Normalise(1)], ids=str)
def test_single_samples_cannot_be_weighted_after_the_noise(part: Clip | Normalise) -> None:
    with pytest.raises(ValueError, match="follows a Noise"):
        Noise(1) | part


@given(norms=norm_lists, first=limits, second=limits)
def test_composed_clips_equal_clipping_one_after_the_other(norms: list[float], first: float, second: float) -> None:
    given_norms = _double(norms)
    together = (Clip(first) | Clip(second)).weights(given_norms) * given_norms
    once = Clip(first).weights(given_norms) * given_norms
    twice = Clip(second).weights(once) * once
    torch.testing.assert_close(together, twice, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(together, given_norms.clamp(max=min(first, second)), rtol=1e-12, atol=1e-12)


def test_no_parts_weight_every_sample_1() -> None:
    assert Shaper().weights(_double([0, 1, 9])).tolist() == [1, 1, 1]
    assert Shaper((Noise(3),)).weights(_double([0, 1, 9])).tolist() == [1, 1, 1]


def test_a_part_of_ones_own_sees_the_norms_that_the_parts_before_it_left() -> None:
    norms = _double([0.5, 2, 8])
    assert (Clip(4) | DropLargest()).weights(norms).tolist() == [1, 1, 0]
    assert (Clip(1) | DropLargest()).weights(norms).tolist() == [1, 0, 0]
    assert (Clip(1) | Normalise(3)).weights(norms).tolist() == [6, 1.5, 0.375]


parts = (
    limits.map(Clip) | st.floats(0.1, 3).map(Normalise) | st.just(DropLargest())  # equal for all victims
)
shapers = st.builds(
    lambda weighting, noises: Shaper((*weighting, *noises)),
    st.lists(parts, max_size=3),
    st.lists(st.floats(0, 2).map(Noise), max_size=2),
)


@given(stack=st.lists(shapers, min_size=1, max_size=5), rows=st.integers(1, 5), data=st.data())
def test_a_stack_weights_each_row_by_its_own_shaper(stack: list[Shaper], rows: int, data: st.DataObject) -> None:
    sizes = st.lists(st.just(0.0) | st.floats(1e-6, 1e6), min_size=rows, max_size=rows)
    norms = torch.tensor(data.draw(st.lists(sizes, min_size=len(stack), max_size=len(stack))), dtype=torch.float64)
    got = ShaperStack(stack, device=CPU, dtype=torch.float64).weights(norms.square().unsqueeze(0))
    expected = torch.stack([shaper.weights(row) for shaper, row in zip(stack, norms, strict=True)])
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_stack_of_plain_clips_keeps_the_edge_cases(dtype: torch.dtype) -> None:
    stack = ShaperStack([Shaper((Clip(limit),)) for limit in (0, 2, math.inf)] + [Shaper()], device=CPU, dtype=dtype)
    got = stack.weights(torch.tensor([[[0.0, 1.0, 64.0]] * 4], dtype=dtype))
    assert got.tolist() == [[0, 0, 0], [1, 1, 0.25], [1, 1, 1], [1, 1, 1]]


def test_a_stack_knows_whether_norms_are_needed() -> None:
    quiet = ShaperStack([Shaper(), Shaper((Noise(2),))], device=CPU, dtype=torch.float32)
    assert not quiet.needs_norms
    assert ShaperStack([Shaper(), Clip(1) | Noise(1)], device=CPU, dtype=torch.float32).needs_norms


def test_in_a_stack_a_part_sees_the_norms_of_its_own_batch_only() -> None:
    stack = ShaperStack([Shaper((DropLargest(),))] * 2, device=CPU, dtype=torch.float64)
    norms = torch.tensor([[1.0, 2.0, 9.0], [9.0, 1.0, 2.0]], dtype=torch.float64)
    member = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    assert (stack.weights(norms.square().unsqueeze(0), member) * member).tolist() == [[1, 0, 0], [0, 1, 0]]
