"""Toy rows that filters are tested on."""

import torch

from gradshape.data import Split
from gradshape.defenses import Defense, Suspect
from gradshape.training import SGD, Recipe, TrainedModel


def gaussians(count: int, *, seed: int, features: int = 2, apart: float = 2.0, classes: int = 2) -> Split:
    """Rows of unit variance around one centre a class, ``apart`` from the middle along a line (not in [0, 1])."""
    y = torch.arange(count) % classes
    x = torch.randn(count, features, generator=torch.Generator().manual_seed(seed))
    x[:, 0] += apart * (2 * y - (classes - 1))
    return Split(x, y)


def labelled(x: torch.Tensor, label: int) -> Split:
    return Split(x, torch.full((len(x),), label))


def joined(*parts: Split) -> Split:
    return Split(torch.cat([part.x for part in parts]), torch.cat([part.y for part in parts]))


def mask_of(
    defense: Defense, rows: Split, *, clean: Split | None = None, targets: Split | None = None, seed: int = 0
) -> torch.Tensor:
    """What the defence keeps of ``rows``."""
    classes = int(rows.y.max()) + 1
    train = Suspect(rows.x, rows.y, num_classes=classes, assumptions=defense.assumptions, clean=clean, targets=targets)
    mask = defense.filter(train, generator=torch.Generator().manual_seed(seed))
    assert mask is not None
    return mask


def mask_by_own_coordinates(defense: Defense, rows: Split) -> torch.Tensor:
    """What a defence keeps that looks at features, where these are the rows themselves."""
    features = rows.x.shape[1]
    # The logits of a logistic regression are its features, and it has as many as classes.
    outputs = max(features, int(rows.y.max()) + 1)
    state = {"head.weight": torch.eye(outputs, features), "head.bias": torch.zeros(outputs)}
    model = TrainedModel(Recipe("lr", SGD(0.1), batch_size=7, epochs=1), state)
    train = Suspect(rows.x, rows.y, num_classes=outputs, assumptions=defense.assumptions, model=model)
    mask = defense.filter(train, generator=torch.Generator().manual_seed(0))
    assert mask is not None
    return mask
