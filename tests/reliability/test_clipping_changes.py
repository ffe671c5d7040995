"""What changes between two calls, without a trace in shapes and the autograd graph, is not taken for what it was."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gradshape.clipping import per_sample, per_sample_norms
from tests.clipping.naive import filled, labels, norm, per_sample_gradients, randn

CLASSES, ROWS = 3, 6
REFUSED = "whatever rows are beside it"
SETTINGS = {"mix": 0.0}
# Calls after which the next one would not be tried on a row.
UNTRIED = 6


class Dense(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.o = nn.Linear(5, 4), nn.Linear(4, CLASSES)

    def mixed(self, x: Tensor, share: Any) -> Tensor:
        h = self.a(x).relu()
        out: Tensor = self.o(h + share * h.mean(0, keepdim=True))
        return out


class Written(Dense):
    """A model whose forward pass is given."""

    def __init__(self, run: Callable[[Any, Tensor], Tensor], **attributes: Any) -> None:
        super().__init__()
        self.run = run
        for name, value in attributes.items():
            setattr(self, name, value)

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self, x)


class OfClass(Dense):
    mix = 0.0

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(x, self.mix)


class OfGlobals(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(x, SETTINGS["mix"])


class OfBuffer(Dense):
    share: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("share", torch.zeros((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return self.mixed(x, self.share)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(logits, y, reduction="none")


def norms(model: nn.Module, loss_fn: Callable[..., Tensor] = cross_entropy, *, seed: int = 0) -> Tensor:
    return per_sample_norms(model, loss_fn, randn(ROWS, 5, seed=seed), labels(ROWS, CLASSES, seed=seed))


def alone(model: nn.Module, *, seed: int = 0) -> Tensor:
    x, y = randn(ROWS, 5, seed=seed), labels(ROWS, CLASSES, seed=seed)
    rows = per_sample_gradients(model, cross_entropy, x, y)
    return torch.stack([norm(gradient) for gradient in rows])


def by(read: Callable[[Any], Any]) -> Callable[[Any, Tensor], Tensor]:
    return lambda m, x: m.mixed(x, read(m))


def read(value: Callable[[Any], Any], **attributes: Any) -> Written:
    return Written(lambda m, x: m.mixed(x, value(m)), **attributes)


# A model, and what makes it mix rows.
CHANGES: dict[str, tuple[Callable[[], nn.Module], Callable[[Any], object]]] = {
    "attribute": (lambda: read(lambda m: m.mix, mix=0.0), lambda m: setattr(m, "mix", 0.5)),
    "class": (lambda: type("Own", (OfClass,), {"mix": 0.0})(), lambda m: setattr(type(m), "mix", 0.5)),
    "key": (lambda: read(lambda m: SETTINGS.get(m.key, 0.5), key="mix"), lambda m: setattr(m, "key", "none")),
    "dict": (lambda: read(lambda m: m.of["mix"], of={"mix": 0.0}), lambda m: m.of.update(mix=0.5)),
    "list": (lambda: read(lambda m: m.of[0], of=[0.0]), lambda m: m.of.insert(0, 0.5)),
    "object": (
        lambda: read(lambda m: m.of.mix, of=SimpleNamespace(mix=0.0)),
        lambda m: setattr(m.of, "mix", 0.5),
    ),
    "tensor": (lambda: read(lambda m: m.mix, mix=torch.zeros(())), lambda m: m.mix.fill_(0.5)),
    "large-tensor": (lambda: read(lambda m: m.mix[0], mix=torch.zeros(99)), lambda m: m.mix.fill_(0.5)),
    "buffer": (OfBuffer, lambda m: m.share.fill_(0.5)),
    "places": (lambda: Written(lambda m, x: m.mixed(x.roll(m.by, 0), 0.0), by=0), lambda m: setattr(m, "by", 1)),
    "forward": (OfGlobals, lambda m: setattr(m, "forward", lambda x: m.mixed(x, 0.5))),
}


# Ways to hook what changes gradients and no output.
HOOKS: dict[str, Callable[[Any], Any]] = {
    "parameter": lambda layer: layer.weight.register_hook(lambda grad: 3 * grad),
    "backward": lambda layer: layer.register_full_backward_hook(lambda m, grads, _: tuple(3 * g for g in grads)),
    "backward-pre": lambda layer: layer.register_full_backward_pre_hook(lambda m, grads: (3 * grads[0],)),
}
HOOKED: dict[str, Callable[[], nn.Module]] = {
    "closed-form": lambda: nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, CLASSES)),
    "sequence": lambda: nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, CLASSES)),
    "own": lambda: read(lambda m: 0.0),
}


@pytest.mark.parametrize("loss_fn", [cross_entropy, nn.CrossEntropyLoss(reduction="none")], ids=["function", "module"])
@pytest.mark.parametrize("hook", HOOKS)
@pytest.mark.parametrize("kind", HOOKED)
def test_hooks_that_come_and_go_between_calls_are_heeded(kind: str, hook: str, loss_fn: Callable[..., Tensor]) -> None:
    model = filled(HOOKED[kind]())
    usual = alone(model)
    for _ in range(UNTRIED):
        torch.testing.assert_close(norms(model, loss_fn).double(), usual)
    last = list(model.children())[-1]
    handle = HOOKS[hook](last)
    hooked = alone(model)
    assert not torch.allclose(hooked, usual)
    torch.testing.assert_close(norms(model, loss_fn).double(), hooked)
    handle.remove()
    torch.testing.assert_close(norms(model, loss_fn).double(), usual)


@pytest.mark.parametrize("change", CHANGES)
def test_what_makes_a_model_mix_rows_is_noticed_at_once(change: str) -> None:
    make, begin = CHANGES[change]
    torch.manual_seed(0)
    model = make().double()
    for seed in range(UNTRIED):
        torch.testing.assert_close(norms(model, seed=seed), alone(model, seed=seed))
    begin(model)
    with pytest.raises(ValueError, match=REFUSED):
        norms(model, seed=9)


def test_a_global_that_makes_a_model_mix_rows_is_noticed_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = filled(OfGlobals())
    for seed in range(UNTRIED):
        norms(model, seed=seed)
    monkeypatch.setitem(SETTINGS, "mix", 0.5)
    with pytest.raises(ValueError, match=REFUSED):
        norms(model, seed=9)


def test_a_loss_that_begins_to_mix_rows_is_noticed_at_once() -> None:
    class Moving:
        by = 0

        def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
            return cross_entropy(logits, y).roll(self.by, 0)

    def closing(by: int) -> Callable[[Tensor, Tensor], Tensor]:
        return lambda logits, y: cross_entropy(logits, y).roll(by, 0)

    model, moving = filled(OfGlobals()), Moving()
    for seed in range(UNTRIED):
        norms(model, moving, seed=seed)
        norms(model, closing(0), seed=seed)
    moving.by = 1
    with pytest.raises(ValueError, match=REFUSED):
        norms(model, moving, seed=9)
    with pytest.raises(ValueError, match=REFUSED):
        norms(model, closing(1), seed=9)


@pytest.mark.parametrize("first", [1, 2, 5, 40, 70])
def test_values_that_make_a_model_mix_rows_are_noticed_within_64_batches(first: int) -> None:
    def gated(m: Any, x: Tensor) -> Tensor:
        gate = (x.mean() > 5).to(x.dtype)
        return m.mixed(x, gate)  # type: ignore[no-any-return]

    model = filled(Written(gated))
    x, y = randn(ROWS, 5), labels(ROWS, CLASSES)
    for _ in range(first):
        per_sample(model, cross_entropy, x, y)
    with pytest.raises(ValueError, match=REFUSED):  # noqa: PT012
        for _ in range(64):
            per_sample(model, cross_entropy, x + 10, y)


def test_a_model_with_dropout_that_begins_to_mix_rows_by_values_is_noticed() -> None:
    def gated(m: Any, x: Tensor) -> Tensor:
        gate = (x.mean() > 5).to(x.dtype)
        return m.mixed(F.dropout(x, 0.5), gate)  # type: ignore[no-any-return]

    model = filled(Written(gated))
    x, y = randn(ROWS, 5), labels(ROWS, CLASSES)
    per_sample(model, cross_entropy, x, y)
    with pytest.raises(ValueError, match=REFUSED):
        per_sample(model, cross_entropy, x + 10, y)


def running_mean(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    m.mean = m.mean * 0.9 + h.detach().mean(0) * 0.1
    return m.o(h - m.mean)  # type: ignore[no-any-return]


def running_mean_in_place(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    m.mean.mul_(0.9).add_(h.detach().mean(0), alpha=0.1)
    return m.o(h - m.mean)  # type: ignore[no-any-return]


def running_mean_in_a_list(m: Any, x: Tensor) -> Tensor:
    h = m.a(x)
    m.mean.append(h.detach().mean(0))
    return m.o(h - m.mean[-1])  # type: ignore[no-any-return]


@pytest.mark.parametrize("run", [running_mean, running_mean_in_place, running_mean_in_a_list])
def test_statistics_of_the_batch_in_an_attribute_are_refused(run: Callable[[Any, Tensor], Tensor]) -> None:
    mean: Any = [] if run is running_mean_in_a_list else torch.zeros(4, dtype=torch.float64)
    model = filled(Written(run, mean=mean))
    for seed in range(2):
        with pytest.raises(ValueError, match=REFUSED):
            norms(model, seed=seed)


def test_a_model_that_counts_its_passes_counts_one_and_is_exact() -> None:
    def counting(m: Any, x: Tensor) -> Tensor:
        m.passes += 1
        return m.mixed(x * m.passes, 0.0)  # type: ignore[no-any-return]

    model: Any = filled(Written(counting, passes=0))
    for seed in range(12):
        before = model.passes
        found = norms(model, seed=seed)
        assert model.passes == before + 1
        # Every row of the reference takes a pass of its own.
        rows = []
        for row in range(ROWS):
            model.passes = before
            x, y = randn(ROWS, 5, seed=seed), labels(ROWS, CLASSES, seed=seed)
            rows.append(norm(per_sample_gradients(model, cross_entropy, x[row : row + 1], y[row : row + 1])[0]))
        model.passes = before + 1
        torch.testing.assert_close(found, torch.stack(rows))


def test_a_model_keeps_what_it_noted_of_the_batch() -> None:
    def noting(m: Any, x: Tensor) -> Tensor:
        m.features = m.a(x)
        return m.o(m.features.relu())  # type: ignore[no-any-return]

    model: Any = filled(Written(noting))
    for seed in range(3):
        norms(model, seed=seed)
        assert model.features.shape == (ROWS, 4)
        torch.testing.assert_close(model.features, model.a(randn(ROWS, 5, seed=seed)))
