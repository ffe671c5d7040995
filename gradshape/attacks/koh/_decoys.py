"""Decoys: parameters that are wrong on many rows and yet have a small training loss, for learners to be led to."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from gradshape import _validate
from gradshape.attacks.koh._regularised_hinge import AddedRows, RegularisedHinge


@dataclass(frozen=True, eq=False)
class Decoy:
    """Parameters that an attacker wants a learner to end with.

    Attributes:
        theta: ``(d + 1,)`` weights and bias.
        loss: mean loss on the clean rows.
        error: share of the clean rows that they get wrong, in [0, 1].
        quantile, repeats: which rows were flipped to train them, and how often each was added.
    """

    theta: Tensor
    loss: float
    error: float
    quantile: float
    repeats: int


def find_decoys(
    learner: RegularisedHinge,
    *,
    quantiles: Sequence[float],
    repeats: Sequence[int],
    report: Callable[[int, int, float], None] | None = None,
) -> list[Decoy]:
    """Train decoys on the clean rows and on flipped copies of the rows with the smallest margins.

    For every quantile ``q`` and every number ``r``, the rows whose margin under the clean parameters is below the
    ``q``-quantile are added ``r`` times with the other label.

    Args:
        learner: with the clean rows. Decoys are judged on these, too: the attacker sees no test rows.
        quantiles: the ``q``, in [0, 1].
        repeats: the ``r``, at least 1.
        report: called with the number of decoys trained, the number in all, and the largest error so far.

    Returns:
        The decoys that no other one beats in both loss and error, by falling error; at least one.

    Raises:
        ValueError: there is no quantile or no number of repeats, or one is out of range.

    Koh, Steinhardt and Liang 2018, section 4.2; their code takes the same training objective and pruning.
    """
    check_grid(quantiles=quantiles, repeats=repeats)
    rows = learner.rows
    clean = learner.fit()
    margins = rows @ clean
    found: list[Decoy] = []
    for quantile in quantiles:
        flipped = -rows[margins < margins.quantile(quantile)]
        start = clean
        for repeat in repeats:
            mass = flipped.new_full((len(flipped),), repeat / len(rows))
            start = learner.fit(AddedRows(flipped, mass), start=start)
            found.append(Decoy(start, learner.mean_loss(start), learner.error(start), quantile, repeat))
            if report is not None:
                report(len(found), len(quantiles) * len(repeats), max(decoy.error for decoy in found))
    return pareto_front(found)


def check_grid(*, quantiles: Sequence[float], repeats: Sequence[int]) -> None:
    """Raise ``ValueError`` unless there are quantiles in [0, 1] and repeats of at least 1."""
    if not quantiles or not repeats:
        raise ValueError(f"quantiles={quantiles!r}, repeats={repeats!r}: expected at least one of each")
    for quantile in quantiles:
        _validate.fraction(quantiles=quantile)
    for repeat in repeats:
        _validate.positive_int(repeats=repeat)


def pareto_front(decoys: Sequence[Decoy]) -> list[Decoy]:
    """Select the decoys whose loss is below that of all others with at least their error, by falling error.

    >>> from torch import zeros
    >>> tried = [Decoy(zeros(1), loss, error, 0.1, 1) for loss, error in ((0.5, 0.2), (0.4, 0.3), (0.3, 0.1))]
    >>> [(decoy.loss, decoy.error) for decoy in pareto_front(tried)]
    [(0.4, 0.3), (0.3, 0.1)]
    """
    front: list[Decoy] = []
    for decoy in sorted(decoys, key=lambda one: (-one.error, one.loss)):
        if not front or decoy.loss < front[-1].loss:
            front.append(decoy)
    return front
