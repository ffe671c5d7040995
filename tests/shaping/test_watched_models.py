"""The model of a loop is what it is at the time of each call: its hooks, what is trainable of it, what it keeps."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook, register_module_forward_pre_hook
from torch.utils.hooks import RemovableHandle

from gradshape.clipping import clipped_gradient
from gradshape.shaping import Clip, Noise, ShapedLoss
from tests.clipping.naive import PER_SAMPLE_LOSS, Gradients, assert_equal, clipped_mean, filled
from tests.shaping.loops import generator, gradients, mlp, rows


class Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = mlp()

    def forward(self, x: Tensor, *, shift: Tensor | None = None) -> Tensor:
        scores: Tensor = self.layers(x if shift is None else x + shift) * 1.5
        return scores


def wrapped() -> nn.Module:
    return nn.Sequential(Custom())


every_kind = pytest.mark.parametrize("build", [mlp, Custom, wrapped])


def shaped_gradients(model: nn.Module, *args: Any, y: Tensor, **kwargs: Any) -> tuple[Gradients, Tensor, Tensor]:
    model.zero_grad()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(0.5)) as criterion:
        loss = criterion(model(*args, **kwargs), y)
        loss.backward()
        assert criterion.norms is not None
    return gradients(model), criterion.norms, loss.detach()


HOOKS: dict[str, Callable[[nn.Module], RemovableHandle]] = {
    "pre": lambda model: model.register_forward_pre_hook(lambda _, args: ((args[0] - 1) / 2,)),
    "pre, by name": lambda model: model.register_forward_pre_hook(
        lambda _, args, kwargs: (tuple(a + 1 for a in args), kwargs), with_kwargs=True
    ),
    "pre, in place": lambda model: model.register_forward_pre_hook(lambda _, args: (args[0].mul_(2),)),
    "after": lambda model: model.register_forward_hook(lambda _, args, out: out * 3),
    "after, by name": lambda model: model.register_forward_hook(
        lambda _, args, kwargs, out: out * args[0].mean(1, keepdim=True), with_kwargs=True
    ),
    "global pre": lambda model: register_module_forward_pre_hook(
        lambda module, args: ((args[0] - 1) / 2,) if module is model else None  # type: ignore[arg-type]
    ),
    "global after": lambda model: register_module_forward_hook(
        lambda module, args, out: out * 3 if module is model else None
    ),
}


@contextmanager
def hooked(model: nn.Module, name: str) -> Iterator[None]:
    hook = HOOKS[name](model)
    try:
        yield
    finally:
        hook.remove()


@every_kind
@pytest.mark.parametrize("name", HOOKS)
def test_hooks_are_applied_once(build: Callable[[], nn.Module], name: str) -> None:
    model, (x, y) = filled(build()), rows(0)
    with hooked(model, name):
        expected, norms = clipped_mean(model, PER_SAMPLE_LOSS, x.clone(), y, 0.5)
        loss = nn.functional.cross_entropy(model(x.clone()), y)
        got, got_norms, got_loss = shaped_gradients(model, x.clone(), y=y)
    assert_equal(got, expected)
    torch.testing.assert_close(got_norms, norms)
    torch.testing.assert_close(got_loss, loss.detach())


def test_hooks_see_arguments_by_place_and_by_name_as_the_loop_gives_them() -> None:
    model, (x, y) = filled(Custom()), rows(0)
    expected, _ = clipped_gradient(model, PER_SAMPLE_LOSS, {"x": 2 * x, "shift": x}, y, max_norm=0.5)
    with_hook = filled(Custom())
    with_hook.register_forward_pre_hook(lambda _, args: (args[0] * 2,))
    assert_equal(shaped_gradients(with_hook, x, shift=x, y=y)[0], expected)


def test_a_model_may_write_to_its_inputs() -> None:
    class Writes(Custom):
        def forward(self, x: Tensor, *, shift: Tensor | None = None) -> Tensor:
            return super().forward(x.mul_(2))

    model, (x, y) = filled(Writes()), rows(0)
    expected, _ = clipped_gradient(filled(Custom()), PER_SAMPLE_LOSS, 2 * x, y, max_norm=0.5)
    assert_equal(shaped_gradients(model, x.clone(), y=y)[0], expected)


@every_kind
@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_what_is_trainable_at_a_call_counts(build: Callable[[], nn.Module], noise: float) -> None:
    model, (x, y) = filled(build()), rows(0)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    layers[0].requires_grad_(False)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    shaper = Clip(0.5) | Noise(noise)
    with ShapedLoss(model, optimizer, PER_SAMPLE_LOSS, shaper=shaper, generator=generator()) as criterion:
        for change in (
            lambda: None,
            lambda: layers[0].requires_grad_(True),
            lambda: layers[1].requires_grad_(False),
            lambda: setattr(layers[0], "weight", nn.Parameter(layers[0].weight.detach() + 1)),
            lambda: layers[1].requires_grad_(True),
        ):
            change()
            expected, norms = clipped_gradient(copy.deepcopy(model), PER_SAMPLE_LOSS, x, y, max_norm=0.5)
            model.zero_grad()
            criterion(model(x), y).mean().backward()
            torch.testing.assert_close(criterion.norms, norms)
            got = gradients(model)
            assert got.keys() == expected.keys()
            if not noise:
                assert_equal(got, expected)


@every_kind
def test_layers_may_be_frozen_between_a_call_and_its_backward_pass(build: Callable[[], nn.Module]) -> None:
    model, (x, y) = filled(build()), rows(0)
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    shaper = Clip(0.5) | Noise(0.1)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=shaper, generator=generator()) as criterion:
        out = model(x)
        layers[0].requires_grad_(False)
        loss = criterion(out, y)
        layers[1].bias.requires_grad_(False)
        loss.backward()
    assert [name for name, p in model.named_parameters() if p.grad is not None][-1].endswith("weight")


class Keeps(Custom):
    """Keeps an auxiliary loss, as mixtures of experts do."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.kept = 0, [torch.zeros(())]

    def forward(self, x: Tensor, *, shift: Tensor | None = None) -> Tensor:
        self.calls += 1
        out = super().forward(x)
        self.kept = [out.square().mean()]
        return out


@pytest.mark.parametrize("before", [True, False])
def test_a_loss_that_a_model_keeps_cannot_be_added_beside_the_criterion(before: bool) -> None:
    model, (x, y) = filled(Keeps()), rows(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(1.0)) as criterion:
        for _ in range(3):
            out = model(x)
            kept = model.kept[0]
            loss = criterion(out, y)
            assert model.kept[0] is kept
            with pytest.raises(RuntimeError, match=r"kept in an attribute.*put it into the criterion"):
                (loss + (kept if before else model.kept[0])).backward()


def test_a_step_counts_as_one_pass_in_what_a_model_keeps() -> None:
    model, (x, y) = filled(Keeps()), rows(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(1.0)) as criterion:
        for step in range(1, 4):
            criterion(model(x), y).backward()
            assert model.calls == step


def test_graphs_that_a_model_has_from_elsewhere_are_differentiated() -> None:
    model, (x, y) = filled(Custom()), rows(0)
    weight = next(model.parameters())
    penalty = model.penalty = weight.square().sum()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(0.0)) as criterion:
        (criterion(model(x), y) + penalty).backward()
    torch.testing.assert_close(weight.grad, 2 * weight.detach())


def test_norms_are_those_of_all_that_is_trainable_whatever_the_optimizer_has() -> None:
    model, (x, y) = filled(mlp()), rows(0)
    _, norms = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=1.0)
    optimizer = torch.optim.SGD(model[2].parameters(), lr=0.1)  # type: ignore[index]
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(1.0)) as criterion:
        criterion(model(x), y)
        torch.testing.assert_close(criterion.norms, norms)


@every_kind
def test_a_model_whose_method_forward_is_replaced_is_as_good(build: Callable[[], nn.Module]) -> None:
    model, (x, y) = filled(build()), rows(0)
    expected, _ = clipped_gradient(model, PER_SAMPLE_LOSS, x, y, max_norm=0.5)
    forward = model.forward
    model.forward = lambda x: forward(x)
    assert_equal(shaped_gradients(model, x, y=y)[0], expected)


def test_a_pass_that_is_not_watched_is_an_error() -> None:
    model, (x, y) = filled(mlp()), rows(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with (
        ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=Clip(0.5)) as criterion,
        pytest.raises(ValueError, match="call the model itself"),
    ):
        criterion(model.forward(x), y)
