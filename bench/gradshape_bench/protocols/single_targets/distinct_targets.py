"""Numbers over distinct targets: a row that several seeds attack is one target."""

from collections.abc import Sequence

from gradshape.metrics import Estimate, rate_over_trials

# What makes two seeds' targets one: the test row, and the class that it is to be taken for.
Identity = tuple[int, int]


def by_target(targets: Sequence[Identity], values: Sequence[float | None]) -> list[float]:
    """Return means of what is known of each distinct target, over the seeds that attack it.

    Args:
        targets: of each seed, one after the other.
        values: of each of them; ``None`` where nothing is known.

    >>> by_target([(3, 0), (4, 0), (3, 0)], [1.0, None, 0.0])
    [0.5]
    """
    known: dict[Identity, list[float]] = {}
    for target, value in zip(targets, values, strict=True):
        if value is not None:
            known.setdefault(target, []).append(value)
    return [sum(own) / len(own) for own in known.values()]


def rate(shares: Sequence[float]) -> Estimate:
    """Return a success rate with Wilson's interval; without a target it is 0, and may be anything from 0 to 1.

    Args:
        shares: the share of the seeds that won it, for each distinct target.

    >>> str(rate([])), str(rate([1, 0.5, 0, 0]))
    ('0.0000 [0.0000, 1.0000] (n=0)', '0.3750 [0.0919, 0.7806] (n=4)')
    """
    return rate_over_trials(shares) if shares else Estimate(0.0, 0.0, 1.0, n=0)
