"""Gates: bounds on ratios that are measured side by side, on memory, and on whole experiments."""

from dataclasses import KW_ONLY, dataclass
from typing import Literal

from gradshape_bench.case import Scale

Quantity = Literal[
    "step/plain",
    "step/opacus",
    "clipped_gradient/plain",
    "clipped_gradient_own_loss/plain",
    "shaped_loss/plain",
    "stack/one_by_one",
    "stack/matrix_product",
    "memory",
    "seconds",
]

# The factor by which a gate may be missed before its test fails.
TOLERANCE = {Scale.SMOKE: 2.0, Scale.PAPER: 1.0}


@dataclass(frozen=True)
class Gate:
    """A bound on one measured quantity.

    Args:
        subject: name of the problem, the stack or the experiment.
        quantity: the quantity that is bounded; a step is that of a training, unless a way of taking it is named.
        op: the good side of the bound.
        bound: a ratio; for ``memory`` GB (10^9 bytes); for ``seconds`` the time of the whole experiment, projected from
            the part that was measured.
        gpu: whether the gate is for GPUs; otherwise it is for CPUs.
    """

    subject: str
    quantity: Quantity
    op: Literal["<=", ">="]
    _: KW_ONLY
    bound: float
    gpu: bool = False

    @property
    def id(self) -> str:
        """The name of the gate in test ids."""
        return f"{'gpu-' if self.gpu else ''}{self.subject}-{self.quantity.replace('/', '_over_')}"

    def met(self, value: float, *, tolerance: float = 1.0) -> bool:
        """Return whether ``value`` is on the good side, or beyond the bound by a factor of at most ``tolerance``.

        >>> gate = Gate("lr", "step/plain", "<=", bound=0.8)
        >>> gate.met(0.9), gate.met(0.9, tolerance=1.25)
        (False, True)
        """
        return value <= self.bound * tolerance if self.op == "<=" else value * tolerance >= self.bound

    def __str__(self) -> str:
        return f"{self.quantity} {self.op} {self.bound:g}"


GATES = (
    Gate("lr", "step/plain", "<=", bound=0.8),
    Gate("mlp", "step/plain", "<=", bound=1.0),
    Gate("cnn", "step/plain", "<=", bound=1.5),
    Gate("transformer", "step/plain", "<=", bound=1.5),
    Gate("lr", "step/opacus", "<=", bound=0.25),
    Gate("mlp", "step/opacus", "<=", bound=0.4),
    Gate("cnn", "step/opacus", "<=", bound=0.6),
    Gate("transformer", "step/opacus", "<=", bound=0.8),
    Gate("lr", "clipped_gradient/plain", "<=", bound=1.2),
    Gate("mlp", "clipped_gradient/plain", "<=", bound=1.15),
    Gate("cnn", "clipped_gradient/plain", "<=", bound=1.2),
    Gate("lr", "clipped_gradient_own_loss/plain", "<=", bound=1.3),
    Gate("mlp", "clipped_gradient_own_loss/plain", "<=", bound=1.2),
    Gate("cnn", "clipped_gradient_own_loss/plain", "<=", bound=1.2),
    Gate("lr", "shaped_loss/plain", "<=", bound=1.9),
    Gate("mlp", "shaped_loss/plain", "<=", bound=1.4),
    Gate("cnn", "shaped_loss/plain", "<=", bound=1.25),
    Gate("lr_784_k256", "stack/one_by_one", ">=", bound=200),
    Gate("lr_k64", "stack/one_by_one", ">=", bound=60),
    Gate("lr_k64", "stack/matrix_product", ">=", bound=0.7),
    Gate("mlp_k32", "stack/one_by_one", ">=", bound=80),
    Gate("mlp_k32", "stack/matrix_product", ">=", bound=0.6),
    Gate("cnn_k8", "stack/one_by_one", ">=", bound=5),
    Gate("cnn", "memory", "<=", bound=1.5),
    Gate("one_shot_location30", "seconds", "<=", bound=10),
    Gate("one_shot_purchase", "seconds", "<=", bound=45 * 60),
    Gate("poison_frogs_lr", "seconds", "<=", bound=5 * 60),
    Gate("poison_frogs_mlp", "seconds", "<=", bound=5 * 60),
    Gate("cnn", "step/plain", "<=", bound=1.3, gpu=True),
    Gate("retraining", "seconds", "<=", bound=120, gpu=True),
)
