"""The privacy ledger of a record: the privacy that one training by the case's recipe spends, as plain values."""

import math
from collections.abc import Mapping
from typing import Any

from gradshape.privacy import ASSUMPTIONS, spent
from gradshape.training import AnyRecipe, Recipe
from gradshape_bench.records.record import Record

KEY = "privacy"


def recipe_ledger(recipe: AnyRecipe, rows: int) -> dict[str, Any]:
    """Return the ledger of a training by ``recipe`` on ``rows`` clean rows.

    Infinite values are ``None``, and ``reason`` says why. The ledger of an estimator is empty: nothing is known of the
    privacy that it guarantees.

    >>> from gradshape.training import Adam
    >>> ledger = recipe_ledger(Recipe("lr", Adam(0.01), batch_size=32, epochs=2), 100)
    >>> ledger["epsilon"], ledger["reason"]
    (None, 'no noise is added')
    """
    if not isinstance(recipe, Recipe):
        return {}
    privacy = spent(recipe, rows)
    return {
        "epsilon": _finite(privacy.epsilon),
        "nominal_epsilon": _finite(privacy.nominal),
        "delta": privacy.delta,
        "accountant": privacy.accountant.value,
        "sampling": privacy.sampling.value,
        "sensitivity": _finite(privacy.sensitivity),
        "noise_std": privacy.noise_std,
        "noise_multiplier": _finite(privacy.noise_multiplier),
        "sample_rate": privacy.sample_rate,
        "steps": privacy.steps,
        "reason": privacy.reason,
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def ledger(record: Record) -> Mapping[str, Any]:
    """Return the ledger that a record holds; empty if it holds none."""
    found = record.details.get(KEY)
    return found if isinstance(found, Mapping) else {}


def is_noisy(record: Record) -> bool:
    """Return whether the record's recipe adds noise."""
    return bool(ledger(record).get("noise_std"))


def epsilon(value: object) -> str:
    """Format an epsilon of a ledger for a reader.

    >>> epsilon(12.3456), epsilon(0.0), epsilon(2.5e16), epsilon(None)
    ('12.3', '0', '2.5e+16', '∞')
    """
    return "∞" if value is None else f"{value:.3g}"


def assumption(sampling: object) -> str:
    """Return the assumption under which the epsilons of a ledger with that sampling hold."""
    return next((text for kind, text in ASSUMPTIONS.items() if kind.value == sampling), "Batches: not recorded.")
