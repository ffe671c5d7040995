"""Training one victim of any architecture."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gradshape import _seeds, models
from gradshape.clipping import weighted_gradient
from gradshape.data import Dataset
from gradshape.shaping import Shaper
from gradshape.training.curve import Curves, classes
from gradshape.training.noise import NoiseBlocks
from gradshape.training.order import CommonRows
from gradshape.training.plan import Table
from gradshape.training.victim import State, TrainingResult, Victim

_EVALUATION_ROWS = 1000
_WITHOUT_RANDOMNESS = (
    nn.Linear,
    nn.Conv2d,
    nn.ReLU,
    nn.Flatten,
    nn.MaxPool2d,
    nn.Embedding,
    nn.LayerNorm,
    nn.GroupNorm,
)
_one_at_a_time = threading.Lock()


def train_one(
    dataset: Dataset,
    victim: Victim,
    table: Table,
    order: CommonRows,
    *,
    device: torch.device,
    dtype: torch.dtype,
    keep_states: bool,
    after_epoch: Callable[[int], None],
) -> TrainingResult:
    """Train ``victim`` with autograd, through per-sample gradients if its shaper needs them."""
    recipe = victim.recipe
    model = initial_model(dataset, victim).to(device=device, dtype=dtype)
    parameters = dict(model.named_parameters())
    optimizer = recipe.optimizer.over(list(parameters.values()))
    noise = _noise(victim, sum(p.numel() for p in parameters.values()), order.rows_per_step, dtype=dtype, device=device)
    curves, best = Curves(1), None
    with _global_randomness(model, victim, device):
        for epoch in range(recipe.epochs):
            model.train()
            for step in order.epoch(epoch):
                x = table.x[step.shared].to(device=device, dtype=dtype)
                y = table.y[step.shared].to(device)
                optimizer.step(_gradients(model, parameters, recipe.shaper, x, y, noise))
            better = _evaluate(model, dataset, victim, curves, device=device, dtype=dtype)
            if better and keep_states:
                best = _copy(parameters)
            after_epoch(epoch + 1)
    watched = None if victim.watch is None else len(victim.watch)
    return curves.result(0, watched, _copy(parameters) if keep_states else None, best)


@contextmanager
def _global_randomness(model: nn.Module, victim: Victim, device: torch.device) -> Iterator[None]:
    # Layers such as dropout draw from the process's generators: give them the victim's stream, one training
    # at a time, and put the generators back afterwards.
    if all(isinstance(module, _WITHOUT_RANDOMNESS) for module in model.modules() if not any(module.children())):
        yield
        return
    with _one_at_a_time, torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(_seeds.derive(victim.seed, "dropout"))  # noqa: TID251
        yield


def initial_model(dataset: Dataset, victim: Victim) -> models.Classifier:
    """The victim's model before its first step."""
    model = models.build(
        victim.recipe.model,
        dataset.input_shape,
        dataset.num_classes,
        generator=_seeds.stream(victim.seed, "initial"),
    )
    if victim.initial is not None:
        model.load_state_dict(dict(victim.initial), strict=False)
    return model


def _noise(
    victim: Victim, size: int, rows_per_step: int, *, dtype: torch.dtype, device: torch.device
) -> Iterator[Tensor]:
    blocks = NoiseBlocks([victim], size)
    while True:
        yield from blocks.draw(divisor=rows_per_step, like=torch.empty(0, dtype=dtype, device=device)).squeeze(1)


def _gradients(
    model: nn.Module,
    parameters: Mapping[str, Tensor],
    shaper: Shaper,
    x: Tensor,
    y: Tensor,
    noise: Iterator[Tensor],
) -> list[Tensor]:
    if shaper.reweights:
        try:
            summed, _ = weighted_gradient(model, _loss, x, y, shaper.weights)
            gradients = [summed[name].div_(len(x)) for name in parameters]
        except FloatingPointError:  # It diverged, which is a result.
            gradients = [torch.full_like(parameter, torch.nan) for parameter in parameters.values()]
    else:
        gradients = list(torch.autograd.grad(_loss(model(x), y).mean(), list(parameters.values())))
    if shaper.noise_std:
        parts = next(noise).split([gradient.numel() for gradient in gradients])
        gradients = [gradient + part.view_as(gradient) for gradient, part in zip(gradients, parts, strict=True)]
    return gradients


def _loss(logits: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, y, reduction="none")


@torch.no_grad()
def _evaluate(
    model: nn.Module, dataset: Dataset, victim: Victim, curves: Curves, *, device: torch.device, dtype: torch.dtype
) -> bool:
    model.eval()

    def predict(rows: Tensor) -> Iterator[Tensor]:
        for part in rows.split(_EVALUATION_ROWS):
            yield classes(model(part.to(device=device, dtype=dtype)))

    predicted = torch.cat(list(predict(dataset.test.x))).cpu()
    correct = (predicted == dataset.test.y).sum().unsqueeze(0)
    finite = (predicted >= 0).all().unsqueeze(0)
    watched = None if victim.watch is None else torch.cat(list(predict(victim.watch))).unsqueeze(0)
    return bool(len(curves.add(correct, finite, len(dataset.test), watched)))


def _copy(parameters: Mapping[str, Tensor]) -> State:
    return {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
