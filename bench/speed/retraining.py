"""How long whole trainings take: many of logistic regression at Purchase-100's size, each with one row of its own."""

import time

import torch

from bench.speed.problems import BATCH_SIZE, LR, MAX_NORM
from bench.speed.results import Retraining
from bench.speed.timing import waiting_for
from gradshape.data import Dataset, Split
from gradshape.shaping import Clip, Shaper
from gradshape.training import SGD, Recipe, Victim, train_victims

_ROWS = 10_000
# A shuffle that all share, so that they see the common rows together.
_ORDER_SEED = 7


def retraining(victims: int, epochs: int, *, device: str, max_memory: int) -> Retraining:
    """Train so many victims with clipping for so many epochs, as one-shot poisoning does: each sees one row more."""
    generator = torch.Generator().manual_seed(0)
    train, test, own = (
        Split(LR.draw(rows, generator), torch.randint(LR.classes, (rows,), generator=generator))
        for rows in (_ROWS, _ROWS, victims)
    )
    dataset = Dataset("retraining", train, test, LR.classes)
    recipe = Recipe("lr", SGD(0.1), batch_size=BATCH_SIZE, epochs=epochs, shaper=Shaper((Clip(MAX_NORM),)))
    asked = [
        Victim(recipe, seed, Split(own.x[seed : seed + 1], own.y[seed : seed + 1]), order_seed=_ORDER_SEED)
        for seed in range(victims)
    ]
    wait = waiting_for(device)
    began = time.perf_counter()
    train_victims(dataset, asked, device=device, max_memory=max_memory, keep_states=False)
    wait()
    return Retraining(victims, epochs, time.perf_counter() - began)
