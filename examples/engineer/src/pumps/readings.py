"""Readings of eight sensors, each in a unit of its own."""

import numpy as np
from numpy.typing import NDArray

# What the sensors can show at all: degrees, bar, turns a minute, ampere, percent, millimetres a second, bar, litres.
LOWEST = np.array([-20, 0, 0, 0, 0, 0, -5, 0], dtype=np.float32)
HIGHEST = np.array([120, 16, 3000, 40, 100, 10, 5, 1], dtype=np.float32)
_SPREAD = 0.06
# How far a pump that is about to fail reads from one that is not, in parts of a sensor's range.
_SIGNS = np.array([0.036, 0.03, -0.024, 0.036, 0.018, -0.03, 0.024, 0.018])


def draw(rows: int, *, seed: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return ``(rows, 8)`` readings and whether each pump failed, as 0 or 1."""
    generator = np.random.default_rng(seed)
    failed = generator.integers(0, 2, rows)
    share = 0.5 + generator.normal(0, _SPREAD, (rows, 8)) + (2 * failed[:, None] - 1) * _SIGNS
    share[:, 0] += 0.05 * np.sin(12 * share[:, 1])
    readings = LOWEST + (HIGHEST - LOWEST) * np.clip(share, 0, 1)
    return np.clip(readings, LOWEST, HIGHEST).astype(np.float32), failed
