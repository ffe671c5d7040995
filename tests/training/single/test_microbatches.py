"""A victim on its own in bounded memory."""

import pytest
import torch
from torch import nn

from gradshape import models
from gradshape.shaping import Shaper
from gradshape.training import SGD, Adam, Optimizer
from gradshape.training._architecture import row_sizes
from gradshape.training._memory import rows_at_once
from gradshape.training._single.stepper import SingleStepper
from tests.training.samples import ALL_SHAPERS, OPTIMIZERS, assert_states_equal, random_rows
from tests.training.vmapped.test_family import DATA


def _trained(
    shaper: Shaper, optimizer: Optimizer, *, max_memory: int | None, seen: list[int] | None = None
) -> SingleStepper:
    model = models.build("cnn", DATA.input_shape, DATA.num_classes).double()
    if seen is not None:
        model.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
    victim = SingleStepper(model, optimizer, shaper, seed=1, rows_per_step=10, max_memory=max_memory)
    for step in range(3):
        rows = random_rows(DATA, 10, seed=step)
        victim.step(rows.x.double(), rows.y)
    victim.end_epoch()
    return victim


def _bytes_for(rows: int, optimizer: Optimizer, *, shaped: bool) -> int:
    model = models.build("cnn", DATA.input_shape, DATA.num_classes).double()
    sizes = row_sizes(model, DATA.train.x[:1].double())
    parameters = sum(p.numel() for p in model.parameters())

    def fits(budget: int) -> bool:
        return rows_at_once(sizes, parameters, optimizer, shaped=shaped, item=8, max_memory=budget) >= rows

    return next(budget for budget in range(0, 1 << 26, 1 << 10) if fits(budget))


@pytest.mark.parametrize("rows", [1, 3])
@pytest.mark.parametrize("shaper", ALL_SHAPERS.values(), ids=ALL_SHAPERS)
def test_little_memory_does_not_change_the_result(shaper: Shaper, rows: int) -> None:
    optimizer = Adam(0.02)
    budget = _bytes_for(rows, optimizer, shaped=shaper.needs_norms)
    seen: list[int] = []
    few = _trained(shaper, optimizer, max_memory=budget, seen=seen)
    whole = _trained(shaper, optimizer, max_memory=None)
    assert rows <= max(seen) <= rows + 1
    assert_states_equal(dict(few.model.named_parameters()), dict(whole.model.named_parameters()), tolerance=1e-9)


@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
@pytest.mark.parametrize("shaper", ["vanilla", "clip-noise", "median"])
def test_a_batch_that_fits_is_taken_at_once(shaper: str, optimizer: Optimizer) -> None:
    roomy = _trained(ALL_SHAPERS[shaper], optimizer, max_memory=1 << 30)
    whole = _trained(ALL_SHAPERS[shaper], optimizer, max_memory=None)
    assert_states_equal(dict(roomy.model.named_parameters()), dict(whole.model.named_parameters()), tolerance=0)


@pytest.mark.parametrize("shaped", [True, False])
def test_more_memory_never_means_fewer_rows(shaped: bool) -> None:
    sizes = row_sizes(models.build("cnn", (1, 8, 8), 3), torch.rand(1, 1, 8, 8))
    rows = [
        rows_at_once(sizes, 40_000, SGD(0.1), shaped=shaped, item=4, max_memory=1 << power) for power in range(10, 34)
    ]
    assert rows[0] == 1
    assert rows == sorted(rows)


def test_measuring_a_row_leaves_model_and_random_numbers_alone() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 3))
    model[1].eval()
    row, state = torch.rand(1, 4), {name: value.clone() for name, value in model.state_dict().items()}
    before = torch.get_rng_state()
    sizes = row_sizes(model, row)
    assert (sizes.activations, sizes.gradient) == (4 + 4 + 3, 8)
    assert torch.equal(torch.get_rng_state(), before)
    assert [module.training for module in model] == [True, False, True]
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
