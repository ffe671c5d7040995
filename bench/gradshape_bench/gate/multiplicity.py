"""Calling differences in many comparisons at once, so that chance rarely makes any of the calls."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def hommel(chances: Sequence[float], error: float) -> float:
    """Return up to which chance each of several differences may be called real, for all calls to be right together.

    The chance that any difference is called real that is none is at most ``error`` (the family-wise error), if the
    chances are independent or depend on one another positively, as those of runs with common seeds do. Whatever Holm's
    procedure calls, this calls, too.

    Args:
        chances: of each, if there were no difference.
        error: in (0, 1).

    Hommel 1988; Meijer, Krebs and Goeman 2019, "Hommel's procedure in linear time".

    >>> hommel([0.01, 0.9, 0.8], 0.05), hommel([0.04, 0.02], 0.05)
    (0.025, 0.05)
    """
    ordered = np.sort(np.asarray(chances, dtype=np.float64))
    # How many of the largest might all be chance: if i might, so might fewer, which allows for bisection.
    few, many = 0, len(ordered)
    while few < many:
        middle = (few + many + 1) // 2
        few, many = (few, middle - 1) if _simes(ordered[len(ordered) - middle :], error) else (middle, many)
    return error / max(few, 1)


def simes(chances: Sequence[float], error: float) -> bool:
    """Return whether several chances together are too small to be all chance, with at most that error, in (0, 1).

    Simes 1986, "An improved Bonferroni procedure for multiple tests of significance".

    >>> simes([0.02, 0.03, 0.04], 0.05), simes([0.03, 0.5, 0.9], 0.05)
    (True, False)
    """
    return bool(len(chances)) and _simes(np.sort(np.asarray(chances, dtype=np.float64)), error)


def _simes(ordered: NDArray[np.float64], error: float) -> bool:
    return bool((ordered <= error * np.arange(1, len(ordered) + 1) / len(ordered)).any())
