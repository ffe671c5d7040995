"""Training one victim of any architecture."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gradshape import _seeds, models
from gradshape.clipping import per_sample
from gradshape.data import Dataset
from gradshape.shaping import Shaper, ShaperStack
from gradshape.training.curve import Curves, classes
from gradshape.training.noise import NoiseBlocks
from gradshape.training.optimizers import Optimizer
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


class OneVictim:
    """A model in training, one step at a time, with autograd.

    Its gradients are those of :mod:`gradshape.shaping`: plain ones without a shaper, else weighted per-sample ones.

    Args:
        model: what is trained, in place; its samples do not mix.
        optimizer: settings of the optimizer.
        shaper: what happens to the gradients.
        seed: source of the noise.
        rows_per_step: rows in a batch, or expected in one: what sums are divided by.

    >>> from gradshape.shaping import Clip, Noise
    >>> from gradshape.training import SGD
    >>> victim = OneVictim(nn.Linear(3, 2), SGD(0.1), Clip(1.0) | Noise(0.1), seed=0, rows_per_step=4)
    >>> victim.step(torch.rand(4, 3), torch.tensor([0, 1, 1, 0]))
    """

    def __init__(
        self, model: nn.Module, optimizer: Optimizer, shaper: Shaper, *, seed: int, rows_per_step: int
    ) -> None:
        self.model = model
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        trained = list(self._parameters.values())
        self._optimizer = optimizer.over(trained)
        first = trained[0]
        dtype = torch.promote_types(first.dtype, torch.float32)
        self._shaper = shaper
        self._shaping = ShaperStack([shaper], device=first.device, dtype=dtype, rows_per_step=rows_per_step)
        self._rows_per_step = rows_per_step
        self._noise = self._draws(seed)

    def step(self, x: Tensor, y: Tensor) -> None:
        """Train on ``x (B, *shape)`` and ``y (B,)``, on the model's device and in its dtype. ``B`` may be 0."""
        if len(x) == 0:
            gradients = [torch.zeros_like(parameter) for parameter in self._parameters.values()]
        elif self._shaper.needs_norms:
            gradients = self._shaped(x, y)
        else:
            loss = cross_entropy(self.model(x), y).sum() / self._rows_per_step
            gradients = list(torch.autograd.grad(loss, list(self._parameters.values())))
        if self._shaper.noisy:
            noise = next(self._noise)
            if self._shaper.adaptive_noises:
                noise = noise * (self._shaping.noise_std() / self._rows_per_step).to(noise.dtype)
            parts = noise.split([gradient.numel() for gradient in gradients])
            gradients = [gradient + part.view_as(gradient) for gradient, part in zip(gradients, parts, strict=True)]
        self._optimizer.step(gradients)

    def end_epoch(self) -> None:
        """Tell the parts of the shaper that learn by the epoch."""
        self._shaping.end_epoch()

    def _shaped(self, x: Tensor, y: Tensor) -> list[Tensor]:
        samples = per_sample(self.model, cross_entropy, x, y)
        squares = samples.squares.unsqueeze(1)
        weights = self._shaping.weights(squares).squeeze(-2)
        self._shaping.observe(squares)
        summed = samples.weighted_sum(weights)
        return [summed[name].div_(self._rows_per_step) for name in self._parameters]

    def _draws(self, seed: int) -> Iterator[Tensor]:
        like = next(iter(self._parameters.values())).detach()
        blocks = NoiseBlocks([self._shaper], [seed], sum(p.numel() for p in self._parameters.values()))
        while True:
            yield from blocks.draw(divisor=self._rows_per_step, like=like).squeeze(1)


def train_one(
    dataset: Dataset,
    victim: Victim,
    table: Table,
    order: CommonRows,
    *,
    device: torch.device,
    dtype: torch.dtype,
    keep_states: bool,
    after_epoch: Callable[[int, int], None],
) -> TrainingResult:
    """Train ``victim`` with autograd, through per-sample gradients if its shaper needs them.

    ``after_epoch`` is called with the number of epochs done and of victims, 0 or 1, that go on.
    """
    recipe = victim.recipe
    model = initial_model(dataset, victim).to(device=device, dtype=dtype)
    parameters = dict(model.named_parameters())
    trainer = OneVictim(model, recipe.optimizer, recipe.shaper, seed=victim.seed, rows_per_step=order.rows_per_step)
    curves, best = Curves([victim]), None
    with _global_randomness(model, victim, device):
        for epoch in range(recipe.epochs):
            model.train()
            for step in order.epoch(epoch):
                x = table.x[step.shared].to(device=device, dtype=dtype)
                trainer.step(x, table.y[step.shared].to(device))
            trainer.end_epoch()
            better, done = _evaluate(model, dataset, victim, curves, device=device, dtype=dtype)
            if better and keep_states:
                best = _copy(parameters)
            goes_on = epoch + 1 < recipe.epochs and not done
            after_epoch(epoch + 1, int(goes_on))
            if not goes_on:
                break
    return curves.result(0, _copy(parameters) if keep_states else None, best)


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


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """``(B, C)`` logits and ``(B,)`` classes to ``(B,)`` losses."""
    return nn.functional.cross_entropy(logits, y, reduction="none")


@torch.no_grad()
def _evaluate(
    model: nn.Module, dataset: Dataset, victim: Victim, curves: Curves, *, device: torch.device, dtype: torch.dtype
) -> tuple[bool, bool]:
    model.eval()

    def predict(rows: Tensor) -> Tensor:
        parts = [classes(model(part.to(device=device, dtype=dtype))) for part in rows.split(_EVALUATION_ROWS)]
        return torch.cat(parts).cpu()

    predicted = predict(dataset.test.x)
    correct = (predicted == dataset.test.y).sum().unsqueeze(0)
    finite = (predicted >= 0).all().unsqueeze(0)
    watched = None if victim.watch is None or not len(victim.watch) else predict(victim.watch).unsqueeze(0)
    better, done = curves.add([0], correct, finite, len(dataset.test), watched)
    return bool(better), bool(done)


def _copy(parameters: Mapping[str, Tensor]) -> State:
    return {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
