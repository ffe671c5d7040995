"""Every dtype, autocast, and every kind of module: exact up to rounding, or refused by name. No false alarms."""

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.clipping import _exact_gradients, clipped_gradient, per_sample, per_sample_norms
from gradshape.clipping._memory import GradientMethod
from tests.clipping.naive import PER_SAMPLE_LOSS, labels, norm, per_sample_gradients

ROWS, CLASSES = 6, 3
Build = Callable[[], nn.Module]


class Reused(nn.Module):
    """A weight that is used in two places, of which a shared cast would show one."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(5, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.head(F.linear(self.layer(x).tanh(), self.layer.weight))
        return out


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.up, self.down = nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.down(self.up(self.norm(x)).relu())
        return out


def encoder() -> nn.Module:
    return nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True), nn.Flatten(), nn.Linear(24, 3))


UNDER_AUTOCAST: dict[str, tuple[Build, tuple[int, ...]]] = {
    "closed-form": (lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)), (5,)),
    "sequences": (lambda: nn.Sequential(nn.Linear(5, 4), nn.Flatten(), nn.Linear(16, 3)), (4, 5)),
    "convolutions": (
        lambda: nn.Sequential(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(), nn.Linear(36, 3)),
        (2, 5, 5),
    ),
    "convolution-1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(12, 3)), (2, 5)),
    "norms": (lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.RMSNorm(8), nn.Linear(8, 3)), (5,)),
    "instance-norm": (
        lambda: nn.Sequential(nn.Conv1d(2, 4, 2), nn.InstanceNorm1d(4, affine=True), nn.Flatten(), nn.Linear(16, 3)),
        (2, 5),
    ),
    "attention": (encoder, (3, 8)),
    "without-rule": (lambda: nn.Sequential(nn.Linear(5, 4), nn.PReLU(), nn.Linear(4, 3)), (5,)),
    "used-twice": (Reused, (5,)),
}


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def built(build: Build) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def assert_near(model: nn.Module, x: Tensor, tolerance: float) -> None:
    y = labels(len(x), CLASSES)
    got, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=float("inf"))
    rows = per_sample_gradients(model, PER_SAMPLE_LOSS, x, y)
    expected = torch.stack([norm(row) for row in rows])
    torch.testing.assert_close(norms.double(), expected, rtol=tolerance, atol=0)
    for name, p in model.named_parameters():
        if not p.requires_grad:
            continue
        assert got[name].dtype == p.dtype
        mean = torch.stack([row[name].double() for row in rows]).mean(0)
        assert (got[name].double() - mean).norm() <= tolerance * float(expected.mean())


# Of torch, which has no fused RMSNorm for inputs that are cast.
@pytest.mark.filterwarnings("ignore:Mismatch dtype between input and weight:UserWarning")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=["bfloat16", "float16"])
@pytest.mark.parametrize("kind", UNDER_AUTOCAST)
def test_autocast_gives_what_it_gives_row_by_row(kind: str, dtype: torch.dtype) -> None:
    build, shape = UNDER_AUTOCAST[kind]
    model = built(build)
    with torch.autocast("cpu", dtype=dtype):
        assert_near(model, drawn(ROWS, *shape), 8 * torch.finfo(dtype).eps)


def test_autocast_of_embeddings() -> None:
    model = built(lambda: nn.Sequential(nn.Embedding(9, 8), nn.Flatten(), nn.Linear(24, 3)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_near(model, labels(ROWS * 3, 9).view(ROWS, 3), 0.06)


def test_what_was_found_without_autocast_is_not_believed_with_it() -> None:
    build, shape = UNDER_AUTOCAST["sequences"]
    model, x = built(build), drawn(ROWS, *shape)
    assert_near(model, x, 1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert_near(model, x, 0.06)
    assert_near(model, x, 1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=lambda d: str(d)[6:])
@pytest.mark.parametrize("depth", [2, 12])
def test_rounding_raises_no_alarm(dtype: torch.dtype, depth: int) -> None:
    model = built(
        lambda: nn.Sequential(nn.Linear(20, 64), *(Residual(64) for _ in range(depth)), nn.Linear(64, CLASSES))
    ).to(dtype)
    x, y = drawn(32, 20).to(dtype), labels(32, CLASSES)
    norms = per_sample_norms(model, PER_SAMPLE_LOSS, x, y)
    assert norms.isfinite().all()
    # It stays in one pass, too.
    (known,) = _exact_gradients._known[model].by_signature.values()
    assert known.method is GradientMethod.ONE_PASS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=lambda d: str(d)[6:])
def test_mixed_rows_are_found_in_every_dtype(dtype: torch.dtype) -> None:
    class Centred(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - 0.1 * x.mean(0)

    model = built(lambda: nn.Sequential(nn.Linear(5, 8), Centred(), nn.Linear(8, CLASSES))).to(dtype)
    with pytest.raises(ValueError, match="whatever rows are beside it"):
        per_sample(model, PER_SAMPLE_LOSS, drawn(ROWS, 5).to(dtype), labels(ROWS, CLASSES))


def test_losses_that_are_mixed_are_refused() -> None:
    def centred(logits: Tensor, y: Tensor) -> Tensor:
        losses: Tensor = PER_SAMPLE_LOSS(logits, y)
        return losses - losses.mean()

    with pytest.raises(ValueError, match="expected a model and a loss"):
        per_sample(built(lambda: nn.Linear(5, CLASSES)), centred, drawn(ROWS, 5), labels(ROWS, CLASSES))


def test_a_hand_made_normalisation_is_refused_in_the_mode_in_which_it_mixes() -> None:
    class ByHand(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x - x.mean(0) if self.training else x

    model, x, y = built(lambda: nn.Sequential(ByHand(), nn.Linear(5, CLASSES))), drawn(ROWS, 5), labels(ROWS, CLASSES)
    for _ in range(2):
        per_sample(model.eval(), PER_SAMPLE_LOSS, x, y)
        with pytest.raises(ValueError, match="whatever rows are beside it"):
            per_sample(model.train(), PER_SAMPLE_LOSS, x, y)


@pytest.mark.parametrize("compiled", [torch.jit.script, lambda m: torch.jit.trace(m, torch.zeros(2, 5))])
@pytest.mark.parametrize("inner", [False, True])
def test_torchscript_is_refused_by_name(compiled: Callable[[nn.Module], nn.Module], inner: bool) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Torch would rather have them exported.
        model = compiled(nn.Linear(5, CLASSES))
    model = nn.Sequential(nn.Identity(), model) if inner else model
    with pytest.raises(ValueError, match=r"TorchScript module .*use the nn.Module that it was made from"):
        per_sample(model, PER_SAMPLE_LOSS, drawn(ROWS, 5), labels(ROWS, CLASSES))


class Bare(nn.Module):
    def __init__(self, dtype: torch.dtype, *, trained: bool) -> None:
        super().__init__()
        self.head = nn.Linear(5, CLASSES)
        self.phase = nn.Parameter(torch.ones(5).to(dtype), requires_grad=trained)

    def forward(self, x: Tensor) -> Tensor:
        phase = self.phase
        out: Tensor = self.head(x * (phase.real if phase.is_complex() else phase.float()))
        return out


@pytest.mark.parametrize(
    ("dtype", "remedy"),
    [
        pytest.param(torch.complex64, "torch.view_as_real", id="complex"),
        pytest.param(torch.float8_e4m3fn, r"\.to\(torch\.bfloat16\)", id="fp8"),
    ],
)
def test_parameters_that_are_no_real_numbers_are_refused_by_name(dtype: torch.dtype, remedy: str) -> None:
    x, y = drawn(ROWS, 5), labels(ROWS, CLASSES)
    with pytest.raises(ValueError, match=rf"phase has dtype {dtype}.*{remedy}"):
        per_sample(Bare(dtype, trained=True), PER_SAMPLE_LOSS, x, y)
    assert_near(Bare(dtype, trained=False), x, 1e-5)
