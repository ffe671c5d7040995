"""The properties of an architecture that decide how its victims are trained, and how much memory that takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from gradshape import _global_state, models
from gradshape._randomness import exclusive_randomness, process_randomness, random_state, set_random_state
from gradshape.clipping.ensemble import ModelEnsemble
from gradshape.clipping.structure import Structure, tensors_in
from gradshape.data import Dataset, Units
from gradshape.training.victim import Victim


@dataclass(frozen=True)
class Architecture:
    """An architecture and the sizes of one victim of it.

    Attributes:
        widths: numbers of outputs of the layers of a plain ReLU network; ``None`` for any other.
        stacks: whether victims of it can be run together, see :class:`gradshape.clipping.ensemble.ModelEnsemble`.
        parameters: number of parameters.
        outputs: number of elements that the layers with parameters put out for one row; 0 if it does not stack.
        sizes: sizes of what a pass over one row makes; zeros if it does not stack.
    """

    widths: tuple[int, ...] | None
    stacks: bool
    parameters: int
    outputs: int
    sizes: "RowSizes"


@dataclass(frozen=True)
class RowSizes:
    """Numbers of elements that a pass over one row makes in a model.

    Attributes:
        activations: of the outputs of all modules.
        gradient: of the row's gradient, less the parts that are never formed.
    """

    activations: int = 0
    gradient: int = 0


def architecture_of(dataset: Dataset, victim: Victim) -> Architecture:
    """Return what is known of the victim's model, which is a network."""
    name = victim.descent.model
    return _judged(models.builder(name), name, dataset.input_shape, dataset.num_classes, dataset.units)


@lru_cache(maxsize=256)
def _judged(
    builder: models.Builder, name: str, input_shape: tuple[int, ...], num_classes: int, units: Units | None
) -> Architecture:
    # As it is trained.
    model = models.build(name, input_shape, num_classes, units=units).float()
    x = torch.rand(2, *input_shape, generator=torch.Generator().manual_seed(0), dtype=torch.float32)
    with _global_state.restored(), torch.no_grad(), process_randomness(x.device), _evaluating(Structure.of(model)):
        try:
            logits = model(x)
        except Exception as error:
            message = (
                f"model {name!r} raised {type(error).__name__} ({error}) for rows {tuple(x.shape)} of float32, in eval "
                "mode without gradients"
            )
            expected = f"a network with parameters of float32 that predicts any number of rows{_hint(error)}"
            # With the lines of the model's code.
            raise ValueError(f"{message}: expected {expected}").with_traceback(error.__traceback__) from error
    if not any(p.requires_grad for p in model.parameters()):
        raise ValueError(f"model {name!r} has no trainable parameters: expected a network that can be trained")
    if not isinstance(logits, Tensor) or logits.shape != (2, num_classes):
        found = f"an array {tuple(logits.shape)}" if isinstance(logits, Tensor) else f"a {type(logits).__name__}"
        # One logit says the same as the difference of two, of which the first is 0.
        instead = ""
        if num_classes == 2 and getattr(logits, "shape", None) in ((2, 1), (2,)):
            instead = "; of one logit z, make two: torch.stack([torch.zeros_like(z), z], -1) for z of shape (rows,)"
        raise ValueError(f"model {name!r} makes {found} of 2 rows: expected logits (2, {num_classes}){instead}")
    with _global_state.restored():
        return architecture(model, x)


def _hint(error: Exception) -> str:
    said = str(error)
    if "Long" in said or "Int" in said:
        return "; x.long() makes ids of words out of rows"
    return "; ask `requires_grad` before you register a hook" if "hook" in said else ""


def architecture(model: nn.Module, x: Tensor) -> Architecture:
    """Return what is known of a network that takes two rows such as ``x (2, ...)``."""
    parameters = sum(p.numel() for p in model.parameters())
    dense = models.dense_layers(model)
    if dense is not None:
        return Architecture(tuple(layer.out_features for layer in dense), True, parameters, 0, RowSizes())
    # A training beside this one must not draw random numbers, or they would be taken for the model's.
    with process_randomness(x.device):
        stacked = ModelEnsemble.of(model, x)
        if stacked is None:
            return Architecture(None, False, parameters, 0, RowSizes())
        return Architecture(None, True, parameters, stacked.output_elements, row_sizes(model, x[:1]))


def row_sizes(model: nn.Module, x: Tensor) -> RowSizes:
    """Measure what a pass over the one row ``x (1, ...)`` makes in ``model``, which stays as it is."""
    activations = gradient = 0

    def count(module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        nonlocal activations, gradient
        activations += sum(tensor.numel() for tensor in tensors_in(output))
        # The gradient of a linear layer is kept as one row of inputs and one of output gradients.
        if not (isinstance(module, nn.Linear) and output.dim() == 2):
            gradient += sum(p.numel() for p in module.parameters(recurse=False) if p.requires_grad)

    structure = Structure.of(model)
    counted = [m for m in structure.modules.values() if not any(m.children()) or list(m.parameters(recurse=False))]
    with exclusive_randomness():
        before = random_state(x.device)
        hooks = [module.register_forward_hook(count) for module in counted]
        try:
            with _evaluating(structure), torch.enable_grad():
                structure.call({}, (x,))
        finally:
            for hook in hooks:
                hook.remove()
            set_random_state(before, x.device)
    return RowSizes(activations, gradient)


@contextmanager
def _evaluating(structure: Structure) -> Iterator[None]:
    modes = [(module, module.training) for module in structure.modules.values()]
    structure.model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
