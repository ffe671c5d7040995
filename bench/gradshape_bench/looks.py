"""At which numbers of seeds verdicts are looked at, and how sure each look has to be."""

from collections.abc import Sequence


def looks(seeds: int, most: int | None) -> list[int]:
    """Return the numbers of seeds at which a case's verdicts are looked at, each twice the one before.

    Args:
        seeds: how many there are to begin with.
        most: how many there are at the end; ``None`` for no more than at the beginning.

    >>> looks(3, 20), looks(3, None)
    ([3, 6, 12, 20], [3])
    """
    found = [seeds]
    while most is not None and found[-1] < most:
        found.append(min(2 * found[-1], most))
    return found


def confidence_of_each(confidence: float, planned: Sequence[int]) -> float:
    """Return the confidence that the intervals of each look need.

    The chance of a wrong conclusion at any look is at most the sum of the chances at every one (Bonferroni), whatever
    made the case stop: so ``planned`` looks of this confidence have together that which was asked for.

    >>> round(confidence_of_each(0.95, [3, 6, 12, 20]), 6)
    0.9875
    """
    return 1 - (1 - confidence) / len(planned)
