from collections.abc import Iterator

import pytest
import torch

from gradshape_bench.matmul_precision import tf32, tf32_settings


@pytest.fixture(params=[(False, True), (True, False), (True, True), (False, False)], ids=str)
def before(request: pytest.FixtureRequest) -> Iterator[dict[str, bool]]:
    """The process's settings, products and convolutions."""
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    found = matmul.allow_tf32, cudnn.allow_tf32
    matmul.allow_tf32, cudnn.allow_tf32 = request.param
    yield dict(zip(("tf32", "tf32_convolutions"), request.param, strict=True))
    matmul.allow_tf32, cudnn.allow_tf32 = found


@pytest.mark.parametrize("allowed", [True, False])
def test_both_are_set_inside_and_restored_after(before: dict[str, bool], allowed: bool) -> None:
    with tf32(allowed):
        assert tf32_settings() == {"tf32": allowed, "tf32_convolutions": allowed}
    assert tf32_settings() == before


def test_an_error_restores_them_too(before: dict[str, bool]) -> None:
    with pytest.raises(KeyError), tf32(True):
        raise KeyError
    assert tf32_settings() == before
