"""The numbers that the paper states in its text, tables and captions, from the file beside this module."""

import csv
from dataclasses import KW_ONLY, dataclass
from functools import cache
from pathlib import Path

SOURCE = (
    "Hong, Chandrasekaran, Kaya, Dumitras, Papernot 2020, On the Effectiveness of Mitigating Data Poisoning Attacks "
    "with Gradient Shaping, arXiv:2002.11497"
)
_FILE = Path(__file__).with_name("published.csv")
_TEXTS = ("experiment", "dataset", "model", "attack", "intensity", "optimizer", "metric", "note")


@dataclass(frozen=True)
class PublishedNumber:
    """One number that the paper states.

    Attributes:
        experiment: figure, table or section that states it.
        dataset, model, attack, intensity, optimizer: the setting, in the paper's words; empty if not stated.
        clip_norm: clipping norm C, ``None`` without clipping or where it is not stated.
        noise: the paper's noise multiplier, which is the standard deviation on the sum of the clipped gradients;
            ``None`` if not stated.
        metric: what is measured.
        value: the number.
        note: where the number stands and how to read it.
    """

    experiment: str
    dataset: str
    model: str
    _: KW_ONLY
    attack: str
    intensity: str
    optimizer: str
    clip_norm: float | None
    noise: float | None
    metric: str
    value: float
    note: str


@cache
def published_numbers() -> tuple[PublishedNumber, ...]:
    """Return all published numbers, in the paper's order.

    >>> published_numbers()[2].value, published_numbers()[2].attack
    (0.028, 'random_lf')
    """
    with _FILE.open(encoding="utf-8", newline="") as file:
        return tuple(
            PublishedNumber(
                **{name: row[name] for name in _TEXTS},
                clip_norm=_number(row["clip_norm"]),
                noise=_number(row["noise_multiplier"]),
                value=float(row["value"]),
            )
            for row in csv.DictReader(file)
        )


def _number(text: str) -> float | None:
    return float(text) if text else None
