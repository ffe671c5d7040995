"""Losses of models that are known to take rows one by one: their gradients in the logits, apart from the model.

Only the loss can mix rows then, so that it alone is compared with plain autograd: when something new is seen of it, and
on one row at the 1st, 2nd, 4th, ... and then at every 64th batch of its kind.
"""

from dataclasses import replace
from types import FunctionType, MethodType
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from gradshape._randomness import exclusive_randomness
from gradshape.clipping import _tolerance
from gradshape.clipping._autocast import autocast_dtype
from gradshape.clipping._autograd_graph import AutogradGraph
from gradshape.clipping._forward_pass import ForwardPass
from gradshape.clipping._generators import Draws
from gradshape.clipping._independence import checked_rows, refuse_mixing_rows
from gradshape.clipping._losses import gradient_by_graph, known_gradient
from gradshape.clipping._memory import GradientMethod, Known, Memory
from gradshape.clipping._python_state import PythonState
from gradshape.clipping._rows import Rows
from gradshape.clipping._signature import Signature
from gradshape.clipping.protocol import LossFn, one_loss_per_sample
from gradshape.clipping.structure import Structure


class _Logits(nn.Module):
    """Stands for a model whose logits are known, for a loss to be tried on some of their rows."""

    def forward(self, logits: Tensor) -> Tensor:
        return logits.detach().requires_grad_()


_LOGITS = Structure.of(_Logits())


class RowLosses:
    """What is remembered of the losses of one model.

    Attributes:
        memory: what checks have shown.
        with_model: codes and types of losses that are differentiated together with the model alone: they draw random
            numbers, change with every call, or depend on parameters of the model by other ways than the logits.
        plain: codes and types of losses that were plain cross-entropy by their autograd graph, which then tells so at
            every call without more.
    """

    def __init__(self) -> None:
        self.memory = Memory()
        self.with_model: set[object] = set()
        self.plain: set[object] = set()

    def are_apart(self, loss_fn: LossFn) -> bool:
        """Return whether a loss may be differentiated apart from the model, as far as is known."""
        return _kind(loss_fn) not in self.with_model

    def gradient(self, structure: Structure, loss_fn: LossFn, logits: object, y: Rows) -> Tensor | None:
        """Return the gradients of the losses in the logits; ``None`` if the model has to be looked at as a whole.

        Args:
            structure: a model that is known to take its rows one by one.
            loss_fn: its loss.
            logits: what the model returned.
            y: the labels.

        Raises:
            ValueError: ``loss_fn`` does not return one loss per sample, or mixes samples.
        """
        if not isinstance(logits, Tensor) or logits.dim() == 0 or not logits.is_floating_point():
            return None
        known = known_gradient(loss_fn, logits, y.value, len(logits))
        if known is not None:
            return known
        kind = _kind(loss_fn)
        if kind in self.with_model:
            return None
        if kind in self.plain:
            leaf, losses = _losses(loss_fn, logits, y)
            plain = gradient_by_graph(losses, leaf)
            if plain is not None:
                return plain
        before = PythonState.of(_LOGITS, loss_fn)
        leaf, losses = _losses(loss_fn, logits, y)
        graph = AutogradGraph(losses)
        if graph.uses.keys() & {id(p) for p in structure.parameters.values()}:
            self.with_model.add(kind)
            before.restore()
            return None
        signature = Signature(
            sizes=(logits.shape, y.shapes, graph.settings),
            rest=(logits.dtype, y.kinds, autocast_dtype(logits.device), graph.links({id(leaf): 0})),
            values=(before.but(()), y.plain),
        )
        found = self.memory.find(signature, len(logits))
        visit = found.visit() if found is not None and found.believed else None
        if found is not None and found.believed and visit is None:
            return _gradient(losses, leaf)
        with exclusive_randomness():
            gradient = _gradient(losses, leaf, kept=True)
            check = _Check(loss_fn, leaf, y, losses, gradient)
            if found is not None and visit is not None and check.agrees_alone([visit % len(logits)]):
                return gradient
            if before.changed(PythonState.of(_LOGITS, loss_fn)) or not check.passes():
                self.with_model.add(kind)
                before.restore()
                return None
            inconclusive = 0 if check.conclusive else 1 + (0 if found is None else found.inconclusive)
            self.memory.keep_checked(
                signature, len(logits), Known({}, GradientMethod.ONE_PASS, inconclusive=inconclusive)
            )
            plain = gradient_by_graph(losses, leaf)
            if plain is not None and check.conclusive and check.is_gradient(plain):
                self.plain.add(kind)
            return gradient


_of_models: WeakKeyDictionary[nn.Module, RowLosses] = WeakKeyDictionary()


def losses_of(structure: Structure) -> RowLosses:
    """Return what is remembered of the losses of a model."""
    return _of_models.setdefault(structure.model, RowLosses())


class _Check:
    """Compares the gradients in some logits with those of plain autograd."""

    def __init__(self, loss_fn: LossFn, leaf: Tensor, y: Rows, losses: Tensor, gradient: Tensor) -> None:
        self._loss_fn, self._leaf, self._y, self._losses, self._gradient = loss_fn, leaf, y, losses, gradient
        self._forward = ForwardPass(
            *(_LOGITS, loss_fn, Rows.of(leaf.detach()), y, (), leaf, losses, torch.ones_like(losses))
        )

    def passes(self) -> bool:
        """Return whether the gradients are those of single rows, and the loss draws no random numbers.

        Raises:
            ValueError: the loss mixes samples.
        """
        draws = Draws(self._leaf.device, host=True)
        _, again = _losses(self._loss_fn, self._leaf, self._y)
        drawn = draws.drawn()
        if drawn.anything or not torch.equal(self._losses.nan_to_num(), again.nan_to_num()):
            return False
        refuse_mixing_rows(replace(self._forward, drawn=drawn))
        return self._agrees_in_batch() and self.agrees_alone(checked_rows(len(self._leaf)))

    def _agrees_in_batch(self) -> bool:
        """Return whether the sum under random weights is that of autograd in the graph of the batch."""
        drawn = torch.randn(len(self._leaf), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        weights = drawn.to(self._losses)
        weighted = _gradient(self._losses, self._leaf, weights, kept=True)
        return self._same(self._gradient * weights.to(self._gradient).view(-1, *[1] * (weighted.dim() - 1)), weighted)

    def agrees_alone(self, rows: list[int]) -> bool:
        """Return whether ``rows`` have the gradients that they have alone."""
        for row in rows:
            leaf, losses = _losses(self._loss_fn, self._leaf[row : row + 1], self._y[row : row + 1])
            if not self._same(self._gradient[row : row + 1], _gradient(losses, leaf)):
                return False
        return True

    def is_gradient(self, found: Tensor) -> bool:
        """Return whether ``found`` is the gradient that was checked."""
        return self._same(found, self._gradient)

    @property
    def conclusive(self) -> bool:
        """Whether rows that are all alike do not hide a fault."""
        sizes = self._gradient.flatten(1).norm(dim=1) if self._gradient.dim() > 1 else self._gradient.abs()
        varied = len(sizes) == 1 or bool(sizes.max() - sizes.min() > 1e-3 * sizes.max())
        return varied and bool(sizes.isfinite().all() and self._losses.isfinite().all())

    def _same(self, got: Tensor, expected: Tensor) -> bool:
        rounding = self._forward.rounding
        difference, size = ({"": t.detach().double().norm()} for t in (got - expected, expected))
        return _tolerance.within(difference, size, _tolerance.same_pass(rounding), rounding)


def _losses(loss_fn: LossFn, logits: Tensor, y: Rows) -> tuple[Tensor, Tensor]:
    """Return logits that stand at the beginning of a graph of their own, and their losses."""
    with torch.enable_grad():
        leaf = logits.detach().requires_grad_()
        return leaf, one_loss_per_sample(loss_fn(leaf, y.value), len(logits))


def _gradient(losses: Tensor, leaf: Tensor, weights: Tensor | None = None, *, kept: bool = False) -> Tensor:
    if not losses.requires_grad:
        return torch.zeros_like(leaf)
    weights = torch.ones_like(losses) if weights is None else weights
    (gradient,) = torch.autograd.grad(losses, leaf, weights, retain_graph=kept, allow_unused=True)
    return torch.zeros_like(leaf) if gradient is None else gradient


def _kind(loss_fn: LossFn) -> object:
    fn: object = loss_fn.__func__ if isinstance(loss_fn, MethodType) else loss_fn
    if isinstance(fn, FunctionType):
        return fn.__code__
    return type(fn)
