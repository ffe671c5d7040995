"""A network of two classes with one logit is refused with what makes two of it, and that trains."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gradshape import models
from gradshape.shaping import Clip, Shaper
from gradshape.training import Adam, Recipe, Victim, train_victims
from tests.training.samples import blobs

DATA = blobs(rows=40, classes=2)


class OneLogit(nn.Module):
    def __init__(self, width: int, finish: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.line, self.finish = nn.Linear(width, 1), finish

    def forward(self, x: Tensor) -> Tensor:
        return self.finish(self.line(x.flatten(1)))


FORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "one_logit_column": lambda z: z,
    "one_logit_flat": lambda z: z.squeeze(1),
    "two_of_one_logit": lambda z: torch.stack([torch.zeros_like(z[:, 0]), z[:, 0]], -1),
}


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "_BUILDERS", dict(models._BUILDERS))
    for name, finish in FORMS.items():
        models.register(name, lambda shape, classes, finish=finish: OneLogit(shape[0], finish))  # type: ignore[misc]


@pytest.mark.parametrize("shaper", [Shaper(), Clip(1.0)], ids=["plain", "clipped"])
@pytest.mark.parametrize("name", FORMS)
def test_one_logit_is_refused_and_two_made_of_it_train(name: str, shaper: Shaper) -> None:
    victims = [Victim(Recipe(name, Adam(0.1), batch_size=10, epochs=2, shaper=shaper), seed) for seed in (0, 1)]
    if name == "two_of_one_logit":
        assert all(0 <= result.best_accuracy <= 1 for result in train_victims(DATA, victims))
        return
    with pytest.raises(ValueError, match=r"expected logits \(2, 2\); of one logit z, make two: torch.stack"):
        train_victims(DATA, victims)
