"""A model is compared with plain autograd once, and again when something that was remembered may have changed."""

from collections.abc import Callable, Mapping

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape._randomness import HostState
from gradshape.clipping import PerSample, _exact_gradients, _memory, clipped_gradient, per_sample
from gradshape.clipping._batch_axes import BatchAxes
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._memory import GradientMethod
from tests.clipping.naive import PER_SAMPLE_LOSS, filled, labels, norm, per_sample_gradients, randn

Checked = tuple[GradientMethod, PerSample, bool]


class Skipping(nn.Module):
    """A model whose forward pass is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 3)
        self.skips = True

    def forward(self, x: Tensor) -> Tensor:
        h = self.a(x)
        out: Tensor = self.c(h + self.b(h) if self.skips else self.b(h))
        return out


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The batch sizes of the passes that were checked."""
    seen: list[int] = []
    check = _exact_gradients._first_exact

    def counted(forward: ForwardPass, axes: Mapping[str, BatchAxes]) -> Checked:
        seen.append(len(forward.x))
        return check(forward, axes)

    monkeypatch.setattr(_exact_gradients, "_first_exact", counted)
    return seen


def step(model: nn.Module, rows: int = 6, *, loss_fn: Callable[..., Tensor] = PER_SAMPLE_LOSS, seed: int = 0) -> None:
    gradient, _ = clipped_gradient(model, loss_fn, randn(rows, 5, seed=seed), labels(rows, 3, seed=seed), max_norm=1.0)
    with torch.no_grad():
        for name, p in model.named_parameters():
            p.sub_(gradient[name], alpha=0.1)


def test_a_model_that_notes_something_in_every_pass_is_checked_once(checks: list[int]) -> None:
    class Noting(Skipping):
        passes = 0

        def forward(self, x: Tensor) -> Tensor:
            self.passes += 1
            self.features = super().forward(x)
            return self.features

    model = filled(Noting())
    for seed in range(30):
        step(model, seed=seed)
    assert checks == [6]


def test_an_attribute_that_is_another_one_at_every_step_is_checked_eight_times(checks: list[int]) -> None:
    class Warming(Skipping):
        share = 0.0

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * self.share

    model = filled(Warming())
    for seed in range(30):
        model.share = seed / 10 + 0.1
        step(model, seed=seed)
    assert checks == [6] * 8


def test_a_hundred_steps_are_checked_once(checks: list[int]) -> None:
    model = filled(Skipping())
    for seed in range(100):
        step(model, seed=seed)
    assert checks == [6]


@pytest.mark.parametrize("name", ["lr", "mlp", "cnn"])
def test_models_that_are_known_are_not_checked(name: str, checks: list[int]) -> None:
    shape = (3, 8, 8)
    model = models.build(name, shape, 3).double()
    per_sample(model, PER_SAMPLE_LOSS, randn(6, *shape), labels(6, 3))
    assert checks == []


def test_a_known_model_is_not_checked_for_the_sake_of_an_unknown_loss(checks: list[int]) -> None:
    step(filled(nn.Sequential(nn.Linear(5, 3))), loss_fn=lambda z, y: PER_SAMPLE_LOSS(z, y))
    assert checks == []


def test_every_size_of_a_batch_is_checked(checks: list[int]) -> None:
    model = filled(Skipping())
    for rows in (6, 4, 6, 1, 4):
        step(model, rows)
    assert checks == [6, 4, 1]


def test_after_a_few_sizes_the_same_operations_are_believed_to_do_the_same(checks: list[int]) -> None:
    model = filled(Skipping())
    for rows in (7, 11, 13, 17, 19, 7, 23, 1):
        step(model, rows)
    assert checks == [7, 11, 13, 1]


class SwapsInLargeBatches(Skipping):
    def forward(self, x: Tensor) -> Tensor:
        if len(x) < 20:
            return super().forward(x)
        h = self.a(torch.cat([x[1:2], x[:1], x[2:]]))
        h = h + self.b(h)
        out: Tensor = self.c(torch.cat([h[1:2], h[:1], h[2:]]))
        return out


def test_other_operations_in_a_batch_of_another_size_are_checked(checks: list[int]) -> None:
    model = filled(SwapsInLargeBatches())
    for rows in (7, 11, 13, 17, 23):
        x, y = randn(rows, 5), labels(rows, 3)
        got = per_sample(model, PER_SAMPLE_LOSS, x, y)
        expected = [norm(row) for row in per_sample_gradients(model, PER_SAMPLE_LOSS, x, y)]
        torch.testing.assert_close(got.norms, torch.stack(expected))
    assert checks == [7, 11, 13, 23]


def test_every_model_is_checked(checks: list[int]) -> None:
    for seed in range(2):
        step(filled(Skipping(), seed=seed))
    assert checks == [6, 6]


def swap_a_switch(model: Skipping) -> None:
    model.skips = False


def freeze(model: Skipping) -> None:
    model.a.weight.requires_grad_(False)


def leave_training(model: Skipping) -> None:
    model.eval()


def replace_a_layer(model: Skipping) -> None:
    model.b = nn.Sequential(model.b, nn.Tanh())  # type: ignore[assignment]


@pytest.mark.parametrize("change", [swap_a_switch, freeze, leave_training, replace_a_layer])
def test_what_could_matter_is_checked_again(change: Callable[[Skipping], None], checks: list[int]) -> None:
    model = filled(Skipping())
    for _ in range(2):
        per_sample(model, PER_SAMPLE_LOSS, randn(6, 5), labels(6, 3))
    change(model)
    for _ in range(2):
        per_sample(model, PER_SAMPLE_LOSS, randn(6, 5), labels(6, 3))
    assert checks == [6, 6]


def test_another_loss_is_checked_again(checks: list[int]) -> None:
    model = filled(Skipping())
    for _ in range(2):
        step(model)
        step(model, loss_fn=lambda z, y: PER_SAMPLE_LOSS(2 * z, y))
    assert checks == [6, 6]


def test_rows_that_are_alike_are_checked_a_few_times_only(checks: list[int]) -> None:
    model, x, y = filled(Skipping()), randn(1, 5).expand(6, 5), labels(1, 3).expand(6)
    for _ in range(20):
        per_sample(model, PER_SAMPLE_LOSS, x, y)
    assert checks == [6] * 8


def test_a_bounded_number_of_signatures_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_memory, "_MOST_SIGNATURES", 3)
    model = filled(Skipping())
    for rows in range(1, 9):
        step(model, rows)
        known = _exact_gradients._known[model]
        assert len(known.by_signature) <= 3
        assert len(known.by_size) <= 3


def test_python_s_and_numpy_s_generators_are_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[bool] = []
    now = HostState.now

    def counted() -> HostState:
        looked.append(True)
        return now()

    monkeypatch.setattr(HostState, "now", counted)
    model = filled(Skipping())
    step(model)
    before = len(looked)
    for seed in range(10):
        step(model, seed=seed)
    assert len(looked) == before


def test_a_known_model_on_rows_of_another_kind_is_checked(checks: list[int]) -> None:
    # A linear layer in front of a convolution that takes the batch for its channels.
    model = filled(nn.Sequential(nn.Linear(5, 5), nn.Conv1d(6, 6, 3, padding=1), nn.Linear(5, 3)))
    with pytest.raises(ValueError, match="a row was passed alone"):
        step(model)
    assert checks == []
