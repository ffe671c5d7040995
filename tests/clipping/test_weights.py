import math

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from gradshape.clipping import clip_weights


@pytest.mark.parametrize(
    ("max_norm", "norm", "weight"),
    [
        pytest.param(0.0, 0.0, 0.0, id="zero-limit-zero-norm"),
        pytest.param(0.0, 3.0, 0.0, id="zero-limit"),
        pytest.param(math.inf, 0.0, 1.0, id="no-limit-zero-norm"),
        pytest.param(math.inf, 3.0, 1.0, id="no-limit"),
        pytest.param(math.inf, math.nan, math.nan, id="no-limit-unknown-norm"),
        pytest.param(2.0, 0.0, 1.0, id="zero-norm"),
        pytest.param(2.0, 1e-310, 1.0, id="subnormal-norm"),
        pytest.param(2.0, 2.0, 1.0, id="at-the-limit"),
        pytest.param(2.0, 8.0, 0.25, id="above"),
        pytest.param(2.0, math.inf, 0.0, id="infinite-norm"),
        pytest.param(2.0, math.nan, math.nan, id="unknown-norm"),
    ],
)
def test_the_table_of_edge_cases_holds(max_norm: float, norm: float, weight: float) -> None:
    got = clip_weights(torch.tensor([norm], dtype=torch.float64), max_norm)
    torch.testing.assert_close(got, torch.tensor([weight], dtype=torch.float64), equal_nan=True)


@pytest.mark.parametrize("max_norm", [-1.0, -math.inf, math.nan])
def test_a_limit_that_is_no_norm_is_named(max_norm: float) -> None:
    with pytest.raises(ValueError, match=f"max_norm={max_norm!r}"):
        clip_weights(torch.ones(1), max_norm)


@example(norms=[2.2183712287591423e29], max_norm=5.502217035750264e-14, dtype=torch.float32)
@given(
    norms=st.lists(st.floats(0, 1e30), max_size=5),
    max_norm=st.just(0.0) | st.floats(1e-30, 1e30),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_no_weighted_norm_exceeds_the_limit(norms: list[float], max_norm: float, dtype: torch.dtype) -> None:
    given_norms = torch.tensor(norms, dtype=dtype)
    weights = clip_weights(given_norms, max_norm)
    assert weights.dtype == dtype
    assert ((weights >= 0) & (weights <= 1)).all()
    # Below the smallest normal number a rounding is no longer relative.
    info = torch.finfo(dtype)
    rounding = 1e-6 * max_norm + info.smallest_normal * info.eps * given_norms.double()
    assert (weights.double() * given_norms.double() <= max_norm + rounding).all()


def test_a_limit_below_the_smallest_number_of_the_dtype_leaves_zero_gradients_alone() -> None:
    assert clip_weights(torch.tensor([0.0, 1.0]), 1e-300).tolist() == [1.0, 0.0]


def test_any_leading_axes_are_allowed() -> None:
    norms = torch.tensor([[1.0, 4.0], [0.0, 8.0]])
    torch.testing.assert_close(clip_weights(norms, 2.0), torch.tensor([[1.0, 0.5], [1.0, 0.25]]))
