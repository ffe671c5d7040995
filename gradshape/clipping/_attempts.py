"""Passes that the caller did not ask for, such as those of single rows, and what a model's own error means in them."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import Tensor

from gradshape.clipping._rows import Rows
from gradshape.clipping.protocol import LossFn, one_loss_per_sample
from gradshape.clipping.structure import Structure


@contextmanager
def attempted(structure: Structure, tried: str, expected: str) -> Iterator[None]:
    """Raise ``ValueError`` in place of any error of the model, which does not say who made that pass, and why.

    Args:
        structure: the model.
        tried: what is tried within this context.
        expected: what should have been possible.
    """
    try:
        yield
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        message = f"model: {type(structure.model).__name__} raised {type(error).__name__} ({error}) when {tried}"
        # With the lines of the model's code.
        raise ValueError(f"{message}: expected {expected}").with_traceback(error.__traceback__) from error


def losses_of_rows(structure: Structure, loss_fn: LossFn, x: Rows, y: Rows) -> Tensor:
    """Return the ``(B,)`` losses of some rows ``x`` of a batch, as in training: with gradients.

    Raises:
        ValueError: the model does not take as many rows; ``loss_fn`` does not return one loss per sample.
    """
    with torch.enable_grad():
        with rows_on_their_own(structure, len(x)):
            losses = loss_fn(structure.call({}, *x.clone().arguments), y.value)
        return one_loss_per_sample(losses, len(x))


def rows_on_their_own(structure: Structure, rows: int) -> AbstractContextManager[None]:
    """Say of an error of the model that it may not take as many rows as these."""
    passed = "a row was" if rows == 1 else f"{rows} rows were"
    return attempted(
        structure,
        f"{passed} passed alone, to tell samples apart",
        "a model and a loss that take any number of rows, also one, whatever the size of the batch",
    )
