"""Steps of one network of any architecture."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from gradshape import models
from gradshape._randomness import random_state, set_random_state
from gradshape.clipping import normalizes_by_batch, per_sample
from gradshape.shaping import Shaper, ShaperStack
from gradshape.training._architecture import row_sizes
from gradshape.training._memory import rows_at_once
from gradshape.training._noise import NoiseBlocks
from gradshape.training._probe.sums import SubsetSums
from gradshape.training._replay import Replay
from gradshape.training.optimizers import Optimizer
from gradshape.training.recipe import LossFn
from gradshape.training.state import State
from gradshape.training.victim import OptimizerState

_WITHOUT_RANDOMNESS = frozenset(
    {
        nn.Linear,
        nn.Conv2d,
        nn.ReLU,
        nn.Flatten,
        nn.MaxPool2d,
        nn.Embedding,
        nn.LayerNorm,
        nn.GroupNorm,
        nn.Sequential,
        models.Classifier,
        models.InUnits,
    }
)
# The clipping knows the gradient of this loss in closed form.
_CROSS_ENTROPY = nn.CrossEntropyLoss(reduction="none")


class SingleStepper:
    """Trains one model, step by step, with autograd.

    Without a shaper, gradients are plain; with one, they are weighted sums of per-sample gradients.

    Args:
        model: what is trained, in place; its samples do not mix.
        optimizer: settings of the optimizer.
        shaper: what happens to the gradients.
        seed: source of the noise.
        rows_per_step: number of rows in a batch, or expected in one, which sums are divided by.
        max_memory: bytes that the training may take, by estimate. Larger batches are taken a few rows at a time, which
            changes results by rounding and, if the model draws random numbers, by these. A model that normalises by the
            batch takes it whole, whatever it needs.
        subsets: are given the gradients of every step, which changes the training by no more than rounding.
        loss: loss of each row, see :class:`gradshape.training.Recipe`; cross-entropy if ``None``.

    >>> from gradshape.shaping import Clip, Noise
    >>> from gradshape.training import SGD
    >>> victim = SingleStepper(nn.Linear(3, 2), SGD(0.1), Clip(1.0) | Noise(0.1), seed=0, rows_per_step=4)
    >>> victim.step(torch.rand(4, 3), torch.tensor([0, 1, 1, 0]))
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        shaper: Shaper,
        *,
        seed: int,
        rows_per_step: int,
        max_memory: int | None = None,
        subsets: SubsetSums | None = None,
        loss: LossFn | None = None,
    ) -> None:
        self.model = model
        self._loss = _CROSS_ENTROPY if loss is None else loss
        self._parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        trained = list(self._parameters.values())
        self._settings = optimizer
        self._optimizer = optimizer.over(trained)
        self._max_memory = max_memory
        self._subsets = subsets
        # If the model draws random numbers, per-sample gradients draw others than a plain pass, so that the plain one
        # has to train it.
        self._by_sample = shaper.needs_norms or (subsets is not None and not draws_numbers(model))
        self._most_rows: int | None = None
        first = trained[0]
        dtype = torch.promote_types(first.dtype, torch.float32)
        self._shaper = shaper
        self._shaping = ShaperStack([shaper], device=first.device, dtype=dtype, rows_per_step=rows_per_step)
        self._rows_per_step = rows_per_step
        self._noise = self._draws(seed)
        repeats = subsets is None and self._shaping.repeats and not draws_numbers(model)
        self._replay = Replay(first.device, repeats=repeats)

    def step(self, x: Tensor, y: Tensor, members: Tensor | None = None) -> None:
        """Train on ``x (B, *shape)`` and ``y (B,)``, on the model's device and in its dtype. ``B`` may be 0.

        With ``subsets``, ``members (S, B)`` says which of them each row is in.
        """
        gradients: list[Tensor]
        if len(x) == 0:
            gradients = [torch.zeros_like(parameter) for parameter in self._parameters.values()]
        else:
            writes = x._version
            gradients = self._replay(self._gradients, x, y, members)
            if x._version != writes and (self._by_sample or self._subsets is not None):
                raise ValueError(
                    f"the network {type(self.model).__name__} writes to its input, which it is given several times: "
                    "expected it to write to a copy, such as x.clone()"
                )
            if self._subsets is not None and not self._by_sample:
                before = random_state(x.device)
                self._shaped(x, y, self._rows_at_once(x), members)
                set_random_state(before, x.device)
            if self._subsets is not None:
                self._subsets.end_step()
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

    @property
    def optimizer_state(self) -> OptimizerState:
        """A copy of what the optimizer remembers, on the CPU."""
        slots = (dict(zip(self._parameters, slot, strict=True)) for slot in self._optimizer.slots)
        return OptimizerState(self._optimizer.steps, tuple(_copy(slot) for slot in slots))

    def restore_optimizer(self, state: OptimizerState) -> None:
        """Go on from what an optimizer of these parameters remembered."""
        slots = [[slot[name].to(p, copy=True) for name, p in self._parameters.items()] for slot in state.slots]
        self._optimizer.restore(slots, state.steps)

    def _rows_at_once(self, x: Tensor) -> int:
        # The statistics of a part of a batch are not those of the batch.
        if self._max_memory is None or any(map(normalizes_by_batch, self.model.modules())):
            return len(x)
        if self._most_rows is None:
            self._most_rows = rows_at_once(
                row_sizes(self.model, x[:1].clone()),
                sum(p.numel() for p in self.model.parameters()),
                self._settings,
                shaped=self._by_sample or self._subsets is not None,
                item=x.element_size(),
                max_memory=self._max_memory,
            )
        return min(len(x), self._most_rows)

    def _gradients(self, x: Tensor, y: Tensor, members: Tensor | None) -> list[Tensor]:
        size = self._rows_at_once(x)
        return self._shaped(x, y, size, members) if self._by_sample else self._plain(x, y, size)

    def _plain(self, x: Tensor, y: Tensor, size: int) -> list[Tensor]:
        trained = list(self._parameters.values())
        sums: list[Tensor] = []
        for rows, labels in zip(x.split(size), y.split(size), strict=True):
            losses = self._loss(self.model(rows), labels)
            if losses.shape != labels.shape:
                raise ValueError(f"the loss has shape {tuple(losses.shape)}: expected one a row, {tuple(labels.shape)}")
            mean = losses.sum() / self._rows_per_step
            part = torch.autograd.grad(mean, trained, allow_unused=True, materialize_grads=True)
            sums = [total.add_(more) for total, more in zip(sums, part, strict=True)] if sums else list(part)
        return sums

    def _shaped(self, x: Tensor, y: Tensor, size: int, members: Tensor | None) -> list[Tensor]:
        # If a weight depends on other rows, all norms have to be known before the first sum.
        at_once = size if self._shaping.samplewise else len(x)
        sums: dict[str, Tensor] = {}
        squares = []
        in_subsets = iter(members.split(at_once, dim=1)) if members is not None else None
        for rows, labels in zip(x.split(at_once), y.split(at_once), strict=True):
            samples = per_sample(self.model, self._loss, rows, labels, microbatch=size)
            squares.append(samples.squares.unsqueeze(1))
            weights = self._shaping.weights(squares[-1]).squeeze(-2)
            part = samples.weighted_sum(weights)
            if self._subsets is not None and in_subsets is not None:
                self._subsets.add(samples, weights, next(in_subsets), part)
            sums = {name: sums[name].add_(more) for name, more in part.items()} if sums else part
        self._shaping.observe(squares[0] if len(squares) == 1 else torch.cat(squares, dim=-1))
        return [sums[name].div_(self._rows_per_step) for name in self._parameters]

    def _draws(self, seed: int) -> Iterator[Tensor]:
        like = next(iter(self._parameters.values())).detach()
        blocks = NoiseBlocks([self._shaper], [seed], sum(p.numel() for p in self._parameters.values()))
        while True:
            yield from blocks.draw(divisor=self._rows_per_step, like=like).squeeze(1)


def draws_numbers(model: nn.Module) -> bool:
    """Return whether a forward pass may draw random numbers: it may unless all modules are known not to."""
    return not all(models.is_plain(module, _WITHOUT_RANDOMNESS) for module in model.modules())


def _copy(parameters: Mapping[str, Tensor]) -> State:
    return {name: parameter.detach().cpu().clone() for name, parameter in parameters.items()}
