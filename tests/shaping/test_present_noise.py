"""Between two resets of a gradient the noise asked for is in it, once, however the loop gets there."""

import math
from collections.abc import Callable, Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from gradshape.shaping import Clip, Noise, ShapedLoss
from tests.clipping.naive import filled, labels, randn
from tests.shaping.loops import ROWS, generator, mlp, rows

STD, WIDTH = 3.0, 30


class Loop:
    """A loop whose shaped gradients are noise alone, with entries enough to tell its standard deviation."""

    def __init__(self) -> None:
        self.model = filled(nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)))
        self.body, self.head = self.model.parameters()
        self.optimizer = torch.optim.SGD([self.body], lr=1e-3)
        self.other = torch.optim.Adam([self.body, self.head], lr=1e-3)
        shaper = Clip(0.0) | Noise(STD)
        self.criterion = ShapedLoss(
            self.model, self.optimizer, nn.CrossEntropyLoss(), shaper=shaper, generator=generator()
        )

    def loss(self) -> Tensor:
        return self.criterion(self.model(randn(ROWS, WIDTH)), labels(ROWS, WIDTH))

    def penalty(self) -> Tensor:
        return 1e-6 * (self.body.square().sum() + self.head.square().sum())

    def reset_each(self) -> None:
        self.body.grad = self.head.grad = None

    def noise(self, p: Tensor) -> float:
        return 0.0 if p.grad is None else ROWS * float(p.grad.std())


def two_optimizers(loop: Loop) -> Iterator[Tensor]:
    head = torch.optim.SGD([loop.head], lr=0.1)
    while True:
        head.zero_grad()
        loop.loss().backward()
        yield loop.head
        head.step()


def penalty_first_and_no_step(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.other.zero_grad()
        loop.penalty().backward()
        loop.loss().backward()
        yield loop.body


def penalty_first_and_the_step_of_another(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.other.zero_grad(set_to_none=False)
        loop.penalty().backward()
        loop.loss().backward()
        yield loop.body
        loop.other.step()


def some_are_reset(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.body.grad = None
        loop.loss().backward()
        yield loop.body


def zeros_by_way_of_data(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.loss().backward()
        yield loop.head
        assert loop.head.grad is not None
        loop.head.grad.data.zero_()


def several_passes(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.reset_each()
        for _ in range(3):
            loop.loss().backward()
            loop.penalty().backward()
        yield loop.body


def penalties_in_the_same_pass(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.reset_each()
        for _ in range(3):
            (loop.penalty() + loop.loss() + loop.penalty()).backward()
        yield loop.head


def two_losses_in_one_pass(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.reset_each()
        (loop.loss() + loop.loss()).backward()
        yield loop.head


def gradients_that_are_returned(loop: Loop) -> Iterator[Tensor]:
    while True:
        loop.reset_each()
        torch.autograd.grad(loop.loss(), [loop.body, loop.head])
        loop.penalty().backward()
        loop.loss().backward()
        grads = torch.autograd.grad(loop.loss(), [loop.body, loop.head])
        yield loop.body
        loop.body.grad, loop.head.grad = grads
        yield loop.head


def reset_within_the_pass(loop: Loop) -> Iterator[Tensor]:
    taken = nn.Parameter(torch.zeros_like(loop.body))

    def step(p: Tensor) -> None:
        assert p.grad is not None
        taken.grad = p.grad.clone()
        p.grad.zero_()

    loop.body.register_post_accumulate_grad_hook(step)
    while True:
        loop.loss().backward()
        yield taken


LOOPS: list[Callable[[Loop], Iterator[Tensor]]] = [
    two_optimizers,
    penalty_first_and_no_step,
    penalty_first_and_the_step_of_another,
    some_are_reset,
    zeros_by_way_of_data,
    several_passes,
    penalties_in_the_same_pass,
    two_losses_in_one_pass,
    gradients_that_are_returned,
    reset_within_the_pass,
]


@pytest.mark.parametrize("of", LOOPS, ids=lambda of: of.__name__)
def test_the_noise_of_each_step_is_there_once(of: Callable[[Loop], Iterator[Tensor]]) -> None:
    loop = Loop()
    with loop.criterion:
        for _, p in zip(range(5), of(loop), strict=False):
            assert loop.noise(p) == pytest.approx(STD, rel=0.2)


EVENTS: dict[str, Callable[[Loop], object]] = {
    "loss": lambda loop: loop.loss().backward(),
    "penalty": lambda loop: loop.penalty().backward(),
    "both": lambda loop: (loop.loss() + loop.penalty()).backward(),
    "step": lambda loop: loop.optimizer.step(),
    "step of another": lambda loop: loop.other.step(),
    "zeros": lambda loop: loop.other.zero_grad(set_to_none=False),
    "none": lambda loop: loop.reset_each(),
    "none for one": lambda loop: setattr(loop.body, "grad", None),
}


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(sorted(EVENTS)), max_size=12))
def test_it_is_so_in_any_order_of_events(names: list[str]) -> None:
    loop = Loop()
    passes = {loop.body: 0, loop.head: 0}
    stepped = dict.fromkeys(passes, False)
    with loop.criterion:
        for name in names:
            EVENTS[name](loop)
            for p in passes:
                if name in ("zeros", "none") or (name == "none for one" and p is loop.body):
                    passes[p], stepped[p] = 0, False
                passes[p] += name in ("loss", "both")
                # What a step was taken with is not there for the next, though nothing reset it.
                stepped[p] |= name.startswith("step") and passes[p] > 0
                most = STD * math.sqrt(passes[p] if stepped[p] else min(passes[p], 1))
                assert (STD if passes[p] else 0.0) * 0.8 <= loop.noise(p) + 1e-3
                assert loop.noise(p) <= most * 1.2 + 1e-3


def test_a_gradient_that_something_else_wrote_to_gets_noise_again() -> None:
    loop = Loop()
    with loop.criterion:
        loop.loss().backward()
        nn.utils.clip_grad_norm_(loop.model.parameters(), 1e-6)
        loop.loss().backward()
        assert loop.noise(loop.body) == pytest.approx(STD, rel=0.2)


def test_the_larger_of_two_deviations_is_the_one_in_the_sum() -> None:
    loop = Loop()
    with loop.criterion:
        for factor in (0.5, 2.0, 1.0):
            (factor * loop.loss()).backward()
        assert loop.noise(loop.body) == pytest.approx(2 * STD, rel=0.2)


def test_nothing_stays_on_parameters() -> None:
    loop = Loop()
    with loop.criterion:
        loop.loss().backward()
    assert not any(p._post_accumulate_grad_hooks for p in loop.model.parameters())


@pytest.mark.parametrize("set_to_none", [True, False])
@pytest.mark.parametrize("step", [True, False])
def test_noise_is_added_once_to_the_gradients_of_a_step(set_to_none: bool, step: bool) -> None:
    model, (x, y) = filled(mlp()), rows(0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    draws = generator()
    shaper = Clip(0.0) | Noise(3.0)
    with ShapedLoss(model, optimizer, nn.CrossEntropyLoss(), shaper=shaper, generator=generator()) as shaped:
        for _ in range(3):
            optimizer.zero_grad(set_to_none=set_to_none)
            for half in (slice(0, 3), slice(3, 6)):
                (shaped(model(x[half]), y[half]) / 2).backward()
            expected = [3.0 / ROWS * torch.randn(p.shape, generator=draws, dtype=p.dtype) for p in model.parameters()]
            for p, noise in zip(model.parameters(), expected, strict=True):
                torch.testing.assert_close(p.grad, noise)
            # What the second pass draws has no weight.
            for p in model.parameters():
                torch.randn(p.shape, generator=draws, dtype=p.dtype)
            # A gradient scaler leaves steps out.
            if step:
                optimizer.step()
