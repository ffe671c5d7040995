"""Taking gradients changes nothing about model, rows and random numbers."""

import pytest
import torch
from torch import nn

from gradshape.clipping import clipped_gradient
from tests.clipping.architectures import (
    ROWS,
    Case,
)
from tests.clipping.cases.every import assert_squares, every_unfrozen, every_whole, measure
from tests.clipping.naive import (
    assert_equal,
    randn,
)


@every_whole
def test_results_are_detached(of: Case) -> None:
    got = measure(of)
    total = got.weighted_sum(randn(ROWS))
    assert not any(t.requires_grad for t in (got.squares, got.norms, *total.values()))


@every_unfrozen
def test_parameters_and_flags_stay_as_they_are(of: Case) -> None:
    model = of.model()
    # Under all their names.
    parameters = dict(model.named_parameters(remove_duplicate=False))
    flags = {name: p.requires_grad for name, p in parameters.items()}
    before = {name: value.clone() for name, value in model.state_dict().items()}
    clipped_gradient(model, of.loss_fn, of.x.clone(), of.y, max_norm=0.1)
    assert all(p is parameters[name] for name, p in model.named_parameters(remove_duplicate=False))
    assert {name: p.requires_grad for name, p in parameters.items()} == flags
    assert_equal(dict(model.state_dict()), before, tolerance=0)


@every_whole
def test_nothing_is_left_on_the_modules(of: Case) -> None:
    def attributes(module: nn.Module) -> dict[str, object]:
        return {
            # Recurrent layers list their parameters a second time.
            key: len(value) if isinstance(value, dict) else [*map(id, value)] if isinstance(value, list) else id(value)
            for key, value in vars(module).items()
        }

    model = of.model()
    before = [(type(module), attributes(module)) for module in model.modules()]
    clipped_gradient(model, of.loss_fn, of.x, of.y, max_norm=0.1, microbatch=2)
    assert [(type(module), attributes(module)) for module in model.modules()] == before


@every_whole
def test_no_grad_of_a_parameter_is_written(of: Case) -> None:
    model = of.model()
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    clipped_gradient(model, of.loss_fn, of.x, of.y, max_norm=0.1)
    assert all(p.grad is not None and (p.grad == 1).all() for p in model.parameters())


@every_whole
@pytest.mark.parametrize("microbatch", [None, 2])
def test_a_model_that_draws_nothing_leaves_the_random_numbers_alone(of: Case, microbatch: int | None) -> None:
    model, before = of.model(), torch.get_rng_state()
    clipped_gradient(model, of.loss_fn, of.x, of.y, max_norm=0.1, microbatch=microbatch)
    assert torch.equal(torch.get_rng_state(), before)


@every_whole
def test_rows_are_neither_changed_nor_differentiated(of: Case) -> None:
    x = of.x.clone()
    if x.is_floating_point():
        x.requires_grad_()
    clipped_gradient(of.model(), of.loss_fn, x, of.y, max_norm=0.1)
    assert torch.equal(x, of.x)
    assert x.grad is None


@every_whole
def test_the_mode_of_autograd_around_the_call_does_not_matter(of: Case) -> None:
    with torch.no_grad():
        got = measure(of)
    assert_squares(got, of)
