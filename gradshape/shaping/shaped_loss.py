"""Shaped gradients in a training loop that stays as it is."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from gradshape.clipping import ForwardWatch
from gradshape.clipping.protocol import LossFn, Parameters, PerSample, one_loss_per_sample
from gradshape.clipping.structure import tensors_in
from gradshape.shaping._present_noise import PresentNoise
from gradshape.shaping.shaper import Part, Shaper
from gradshape.shaping.stack import ShaperStack

Criterion = Callable[..., Tensor]


class ShapedLoss:
    """A criterion whose backward pass gives shaped gradients: those of ``1/B (sum_i w_i g_i + N(0, std^2 I))``.

    Wrap the criterion; the loop, the model and the optimizer stay what they are::

        criterion = ShapedLoss(model, optimizer, criterion, shaper=Clip(1.0) | Noise(0.1), generator=generator)
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()

    The per-sample gradients are those of :func:`gradshape.clipping.per_sample`, with all that it promises and refuses.
    A sequence of known layers (linear, convolution, embedding, normalisation, pooling, activations, dropout) is
    recorded in the loop's own forward pass, so that a step takes about a fifth more time than a plain one; where that
    takes a millisecond or less, 0.3 ms more. Any other model is run a second time by the criterion, as it has to be
    tried on single rows, and what it changes put back: that is more than half as much again, and a dropout draws
    another mask for the gradient than for the loss.

    What the loop makes of the losses after the criterion multiplies the shaped gradients: the mean, a sum, the scale of
    a ``GradScaler``. The noise is on the sum, scaled by the largest factor of a sample.

    Edge cases:

    ===========================================  ===================================================================
    case                                         what happens
    ===========================================  ===================================================================
    several backward passes before a reset       gradients add up; the noise of the sum is added once, with the first;
                                                 where something else wrote to a gradient or its parameter in between,
                                                 such as ``clip_grad_norm_``, it is added again
    losses that are not differentiated           no noise is drawn, and nothing is learned from them
    penalties on parameters                      add to the loss, or have a backward pass of their own, as elsewhere
    losses that the model computes               have to be returned and put into the criterion, by the row; what is
                                                 kept in an attribute and added to the loss is an error; what leaves
                                                 ``forward`` in another way would be added without being shaped
    an optimizer of some parameters              norms and gradients are still those of all that are trainable: freeze
                                                 the others (``requires_grad_(False)``) to leave them out
    layers that are frozen, unfrozen, replaced   what is trainable when the model is called counts
    hooks of the model                           are applied as in any call, but again when the model is run again
    ``model.forward(x)``                         not watched, and so an error in the criterion: use ``model(x)``
    ``torch.compile``                            saves no time; give a compiled copy of the model to evaluation alone
    ``torch.no_grad``                            model and criterion are what they are without this
    ``model.eval()`` with gradients              as in training, at its cost
    ``AdaptiveNoise``, ``QuantileClip``          learn after every backward pass; call :meth:`end_epoch` after an epoch
    ``torch.autocast``                           has to be on in the forward pass and the criterion alike
    float16 with a ``GradScaler``                works, but small gradients round to 0 as without one: take bfloat16
    ``copy.deepcopy(model)``, ``state_dict()``   have none of this
    ===========================================  ===================================================================

    Args:
        model: as in :func:`gradshape.clipping.weighted_gradient`. What the criterion gets has to be what the model
            returned, or one of the tensors in it.
        optimizer: any optimizer of parameters of the model.
        criterion: a loss module of torch with any ``reduction`` (a mean is that over the rows, whatever a row's share
            of ignored labels), or whatever returns one loss per sample.
        shaper: what happens to the gradients.
        generator: source of the noise; ``None`` if there is none.

    Attributes:
        norms: ``(B,)`` norms of the gradients of the last batch before shaping; ``None`` before the first.

    Raises:
        ValueError: the optimizer trains what is no parameter of the model; there is noise and no generator; the
            criterion weights classes and takes their mean; the model is shaped already.

    The seam is that of Opacus' ``make_private``, https://opacus.ai; optimizer and loader are not replaced here.

    >>> from gradshape.shaping import Clip
    >>> model = nn.Linear(2, 1, bias=False)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> criterion = ShapedLoss(model, optimizer, lambda out, y: out[:, 0] - y, shaper=Clip(1.0))
    >>> criterion(model(torch.tensor([[3.0, 4.0], [0.0, 0.5]])), torch.zeros(2)).mean().backward()
    >>> model.weight.grad, criterion.norms
    (tensor([[0.3000, 0.6500]]), tensor([5.0000, 0.5000]))
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        criterion: Criterion,
        *,
        shaper: Part | Shaper,
        generator: torch.Generator | None = None,
    ) -> None:
        first = next((p for p in model.parameters() if p.requires_grad), None)
        self._shaper = Shaper() | shaper
        if first is None:
            raise ValueError("model: none of its parameters is trainable: expected some that the optimizer trains")
        if self._shaper.noisy and generator is None:
            raise ValueError(f"generator=None: expected a torch.Generator, from which {shaper!r} draws its noise")
        _refuse_others(optimizer, model)
        _refuse_class_weights(criterion)
        self._criterion = criterion
        self._generator = generator
        dtype = torch.promote_types(first.dtype, torch.float32)
        self._shaping = ShaperStack([self._shaper], device=first.device, dtype=dtype)
        self._present = PresentNoise()
        self.norms: Tensor | None = None
        self._watch = ForwardWatch(model)
        self._watch.open()
        self._hook = optimizer.register_step_post_hook(lambda *_: self._present.forget())

    def __call__(self, output: Any, *targets: Any) -> Tensor:
        """Return what the criterion returns, for what the model returned last.

        Raises:
            ValueError: ``output`` is not what the model returned in its last call; the criterion mixes rows, or does
                not return one loss a row.
            FloatingPointError: the gradient of a sample is not finite; the message names the first. Under autocast to
                float16 that is for the gradient scaler to find.
        """
        if not torch.is_grad_enabled() or not any(tensor.requires_grad for tensor in tensors_in(output)):
            return self._criterion(output, *targets)
        taken = self._watch.take(output)
        if taken is None:
            raise ValueError(
                "criterion: its first argument is not what the model returned in its last call: expected that, or one "
                "of the tensors in it, once; put what lies between into the model or the criterion, such as "
                "lambda output, y: loss(output.squeeze(1), y), and call the model itself, neither its method forward "
                "nor what torch.compile made of it"
            )
        of, place = taken
        with _without_reduction(self._criterion) as reduction:
            loss_fn, y = _of_rows(self._criterion, reduction, place, output, targets)
            samples = self._watch.per_sample(of, loss_fn, y)
            with torch.no_grad():
                losses = one_loss_per_sample(loss_fn(of.output, y), len(of.rows))
        self.norms = samples.norms
        share = 1.0
        if reduction is not None:
            # Here and not by autograd, which takes as long for it as for a small model.
            share = 1 / len(of.rows) if reduction == "mean" and len(of.rows) else 1.0
            losses = losses.mean() if reduction == "mean" else losses.sum()
        named = {name: p for name, p in of.structure.parameters.items() if p.requires_grad}
        if self._shaper.noisy:
            self._present.watch(named.values())
        shaped: Tensor = _Shaped.apply(losses, self, samples, share, named, *named.values())  # type: ignore[no-untyped-call]
        return shaped

    def end_epoch(self) -> None:
        """Tell the parts of the shaper that learn by the epoch."""
        self._shaping.end_epoch()

    def close(self) -> None:
        """Leave model and optimizer as they were."""
        self._watch.close()
        self._present.close()
        self._hook.remove()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def gradients(self, samples: PerSample, factors: Tensor, parameters: Parameters) -> list[Tensor]:
        """Return the shaped gradients of a batch, in the order of the parameters, for ``(B,)`` factors, or one."""
        squares = samples.squares.unsqueeze(1)
        weights = self._shaping.weights(squares).squeeze(-2)
        sums = samples.weighted_sum(weights * factors.to(weights.dtype))
        self._shaping.observe(squares)
        if self._shaper.noisy and factors.numel():
            wanted = (self._shaping.noise_std() * factors.abs().max()).square()
            for name, p in parameters.items():
                sums[name] = sums[name] + self._noise(p, wanted)
        return [sums[name] for name in parameters]

    def _noise(self, p: nn.Parameter, wanted: Tensor) -> Tensor:
        assert self._generator is not None
        dtype = torch.promote_types(p.dtype, torch.float32)
        std = self._present.add(p, wanted).sqrt().to(p.device, dtype)
        drawn = torch.randn(p.shape, generator=self._generator, dtype=dtype, device=self._generator.device)
        return (drawn.to(p.device) * std).to(p.dtype)


class _Shaped(torch.autograd.Function):
    """Losses whose gradients are the shaped ones."""

    @staticmethod
    def forward(
        ctx: Any, losses: Tensor, of: ShapedLoss, samples: PerSample, share: float, named: Parameters, *_: Tensor
    ) -> Tensor:
        ctx.of, ctx.samples, ctx.share, ctx.named = of, samples, share, named
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *factors: Tensor) -> Any:
        return *(None,) * 5, *ctx.of.gradients(ctx.samples, factors[0] * ctx.share, ctx.named)


@contextmanager
def _without_reduction(criterion: Any) -> Iterator[str | None]:
    """Have a loss module of torch give one loss an entry; yield how it reduces them, ``None`` if it does not."""
    reduction = _reduction(criterion)
    if reduction is None:
        yield None
        return
    criterion.reduction = "none"
    try:
        yield reduction
    finally:
        criterion.reduction = reduction


def _of_rows(
    criterion: Criterion, reduction: str | None, place: int, output: Any, targets: tuple[Any, ...]
) -> tuple[LossFn, Any]:
    """Return what maps all that the model returned, and labels, to one loss per sample, and the labels."""
    of_classes = isinstance(criterion, nn.CrossEntropyLoss) and isinstance(output, Tensor) and output.dim() == 2
    if place < 0 and len(targets) == 1 and (reduction is None or of_classes):
        # As it is: its state is put back before it is called again, and a loss that is known has a closed form.
        return criterion, targets[0]

    def losses_of(out: Any, y: tuple[Any, ...]) -> Tensor:
        losses = criterion(out if place < 0 else tensors_in(out)[place], *y)
        if reduction is None or losses.dim() < 2:
            return losses
        return losses.flatten(1).mean(1) if reduction == "mean" else losses.flatten(1).sum(1)

    return losses_of, targets


def _reduction(criterion: Criterion) -> str | None:
    if not isinstance(criterion, nn.Module) or not type(criterion).__module__.startswith("torch.nn"):
        return None
    reduction = getattr(criterion, "reduction", "none")
    return reduction if reduction in ("mean", "sum") else None


def _refuse_class_weights(criterion: Criterion) -> None:
    weighted = isinstance(criterion, nn.CrossEntropyLoss | nn.NLLLoss) and criterion.weight is not None
    if weighted and _reduction(criterion) == "mean":
        raise ValueError(
            f"criterion: {type(criterion).__name__} divides by the weights of the classes in the batch, which mixes "
            'samples: expected one loss per sample; use reduction="none", and the mean of what it returns'
        )


def _refuse_others(optimizer: torch.optim.Optimizer, model: nn.Module) -> None:
    own = {id(p) for p in model.parameters()}
    groups: Sequence[dict[str, Any]] = optimizer.param_groups
    for number, group in enumerate(groups):
        others = sum(id(p) not in own for p in group["params"])
        if others:
            raise ValueError(
                f"optimizer: {others} of the parameters in its group {number} are not the model's: expected those of "
                "the model alone, as others would get no gradients"
            )
