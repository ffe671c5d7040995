"""Records with the values of single seeds, for the tests of the board."""

from collections.abc import Mapping, Sequence
from typing import Any

from gradshape.metrics import Estimate, mean_over_seeds
from gradshape_bench.records.record import Record
from gradshape_bench.verdict import Threshold
from tests.bench.sample import make

NOISE = (-0.002, 0.0, 0.001, 0.003, -0.002)


def seeded(value: float, *, noise: Sequence[float] = NOISE) -> Estimate:
    """An estimate over five seeds whose mean is ``value``."""
    return mean_over_seeds([value + part for part in noise])


def measured(
    defense: str,
    value: float,
    *,
    attack: str = "sota_10",
    loss: float = 0.01,
    rows: int = 100,
    trusted: float | None = None,
    kind: str | None = None,
    noise: Sequence[float] = NOISE,
    details: Mapping[str, Any] | None = None,
    thresholds: Sequence[Threshold] = (Threshold("rad", "<", 0.05),),
    **fields: Any,
) -> Record:
    """A record whose ``rad_vs_vanilla`` is ``value``."""
    metrics = {
        "rad": seeded(value - loss, noise=noise),
        "utility_loss": seeded(loss, noise=(0.0,) * 5),
        "rad_vs_vanilla": seeded(value, noise=noise),
    }
    if trusted is not None:
        metrics["rad_trusted"] = seeded(trusted)
    kinds = {"vanilla": "none", "perfect_filter": "control"}
    known = {"defense_kind": kind or kinds.get(defense, "DP optimizer"), "budget": rows, "poison_rows": [rows] * 5}
    return make(
        defense=defense,
        attack=attack,
        metrics=metrics,
        details={"train_rows": 1_000} | known | dict(details or {}),
        thresholds=thresholds,
        **fields,
    )
