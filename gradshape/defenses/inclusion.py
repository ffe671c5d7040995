"""Small learners trained on a few trusted rows, and what they predict without and with one more row."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.data import Dataset, Split, alternating_order
from gradshape.learners import fit_dual_softmax

# Size of the largest array that a chunk of candidates may take, in numbers.
_CHUNK_ELEMENTS = 4_000_000
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Calibrated:
    """Reject rows whose impact is below the median over trusted rows by more than some standard deviations.

    Args:
        rows: number of trusted rows that are measured, at least 2. They are in no base and no quiz set.
        deviations: number of standard deviations, at least 0.

    Raises:
        ValueError: a number is out of range.

    Nelson et al. 2008; 3 deviations as in Nelson's thesis and the Adversarial Robustness Toolbox.

    >>> round(Calibrated(deviations=1).threshold(torch.tensor([-0.1, 0.0, 0.1])), 3)
    -0.1
    """

    rows: int = 100
    deviations: float = 3.0

    def __post_init__(self) -> None:
        _validate.positive_int(rows=self.rows)
        if self.rows < 2:
            raise ValueError(f"rows={self.rows!r}: expected at least 2, for a standard deviation")
        _validate.finite_non_negative(deviations=self.deviations)

    def __str__(self) -> str:
        return f"{self.rows}x{self.deviations:g}"

    def threshold(self, impacts: Tensor) -> float:
        """Return the least impact that is accepted, given the impacts of the trusted rows."""
        return float(impacts.double().quantile(0.5) - self.deviations * impacts.double().std())


ImpactThreshold = float | Calibrated


def check_threshold(threshold: ImpactThreshold) -> None:
    """Raise ``ValueError`` unless it is calibrated or a finite number."""
    expected = "Calibrated() or a finite number"
    if not isinstance(threshold, Calibrated) and not math.isfinite(_validate.number("threshold", threshold, expected)):
        raise ValueError(f"threshold={threshold!r}: expected {expected}")


def rows_to_calibrate(threshold: ImpactThreshold) -> int:
    """Return the number of trusted rows that a threshold is calibrated on."""
    return threshold.rows if isinstance(threshold, Calibrated) else 0


def settings_label(defense: Any) -> str:
    """Return the settings of a dataclass that are not its defaults, for ids: ``_trials10_quiz20``."""
    changed = [(field.name, getattr(defense, field.name)) for field in fields(defense)]
    return "".join(
        f"_{name}{value:g}" if isinstance(value, float) else f"_{name}{value}"
        for (name, value), field in zip(changed, fields(defense), strict=True)
        if value != field.default
    )


def lacks_rows(dataset: Dataset, *, base: int, rows: int) -> str | None:
    """Return why trials with ``base`` base rows of ``rows`` trusted rows cannot be made; ``None`` if they can."""
    reason = lacks_base(dataset.num_classes, base=base)
    if reason is None and len(dataset.train) < rows:
        return f"it takes {rows} clean rows, and there are {len(dataset.train)}"
    return reason


def lacks_base(num_classes: int | None, *, base: int) -> str | None:
    """Return why no base set of so many rows can be drawn for so many classes; ``None`` if it can, or is not known."""
    if num_classes == 0:
        return "it trains classifiers, and this is a regression task"
    if num_classes is not None and num_classes > base:
        return f"it has {num_classes} classes, and base sets of {base} rows cannot hold them all: raise base"
    return None


@dataclass(frozen=True, eq=False)
class TrustedRows:
    """Ids of trusted rows among the clean ones.

    Attributes:
        base: ``(T, b)``, the rows that the learner of each trial is trained on.
        quiz: ``(T, q)``, the rows that it then predicts.
        calibration: ``(m,)``, rows that are in no base and no quiz set.
    """

    base: Tensor
    quiz: Tensor
    calibration: Tensor

    def among(self, rows: int) -> Tensor:
        """Return a ``(N,)`` bool mask of all of them among ``rows`` clean rows."""
        mask = torch.zeros(rows, dtype=torch.bool)
        for ids in (self.base, self.quiz, self.calibration):
            mask[ids.flatten()] = True
        return mask

    @classmethod
    def draw(
        cls, y: Tensor, *, base: int, quiz: int, trials: int, calibration: int, generator: torch.Generator
    ) -> "TrustedRows":
        """Draw a pool of ``trials (base + quiz)`` rows, or of all but the calibration rows if there are no more, and
        from it, for each trial anew, base and quiz sets without a row in common.

        Classes have equal numbers of rows, as far as there are enough.

        Raises:
            ValueError: fewer than ``base + quiz + calibration`` rows.
        """
        if len(y) < base + quiz + calibration:
            raise ValueError(
                f"{len(y)} clean rows: expected at least base + quiz + calibration = {base + quiz + calibration}"
            )
        order = alternating_order(y, generator=generator)
        set_aside, rest = order[:calibration], order[calibration:]
        pool = rest[: trials * (base + quiz)]
        orders = [alternating_order(y[pool], generator=generator) for _ in range(trials)]
        draws = torch.stack([pool[order[: base + quiz]] for order in orders])
        return cls(draws[:, :base], draws[:, base:], set_aside)


@dataclass(frozen=True, eq=False)
class TrialLearners:
    """One regularised softmax regression a trial, bias included, trained on that trial's base set.

    Attributes:
        x, y: ``(T, b, d)`` float64 and ``(T, b)`` int64 base sets.
        num_classes: ``C``.
        decay: ``decay/2 |W|^2`` is added to the sum of the cross-entropies.
    """

    x: Tensor
    y: Tensor
    num_classes: int
    decay: float

    @classmethod
    def on(cls, clean: Split, base: Tensor, *, num_classes: int, decay: float) -> "TrialLearners":
        """Make the learners of the base sets with the ids ``base``, ``(T, b)``, of ``clean`` rows."""
        return cls(clean.x[base].flatten(2).double(), clean.y[base], num_classes, decay)

    def logits(self, queries: Tensor) -> Tensor:
        """Return ``(T, q, C)`` logits of the queries ``(T, q, d)``, float64, without any row added."""
        return _inner(queries, self.x) @ self._fit()

    def logits_with_each(self, x: Tensor, y: Tensor, queries: Tensor) -> Iterator[Tensor]:
        """Yield logits ``(n, T, q, C)`` of the queries by learners that are trained on one more row, for every row.

        Args:
            x, y: ``(N, *shape)`` and ``(N,)`` rows to add, one at a time.
            queries: ``(T, q, d)`` float64.

        Yields:
            The logits for the next ``n`` rows, in order.
        """
        trials, rows, _ = self.x.shape
        alone = _inner(self.x, self.x)
        asked = _inner(queries, self.x)
        start = torch.nn.functional.pad(self._fit(), (0, 0, 0, 1))
        widest = max(self.num_classes * (rows + 1) ** 2, queries.shape[1] * self.num_classes)
        for x_part, y_part in _chunks(x, y, max(1, _CHUNK_ELEMENTS // (trials * widest))):
            added = x_part.flatten(1).double()
            n = len(added)
            gram = alone.new_empty(n, trials, rows + 1, rows + 1)
            gram[..., :rows, :rows] = alone
            gram[..., :rows, rows] = gram[..., rows, :rows] = _cross(added, self.x)
            gram[..., rows, rows] = (added.square().sum(1) + 1).unsqueeze(1)
            labels = torch.cat([self.y.expand(n, -1, -1), y_part.view(n, 1, 1).expand(-1, trials, 1)], dim=2)
            a = fit_dual_softmax(
                gram,
                labels,
                num_classes=self.num_classes,
                decay=self.decay,
                start=start.expand(n, -1, -1, -1),
                tolerance=_TOLERANCE,
            )
            yield asked @ a[..., :rows, :] + _cross(added, queries).unsqueeze(-1) * a[..., rows:, :]

    def _fit(self) -> Tensor:
        gram = _inner(self.x, self.x)
        return fit_dual_softmax(gram, self.y, num_classes=self.num_classes, decay=self.decay, tolerance=_TOLERANCE)


def _inner(left: Tensor, right: Tensor) -> Tensor:
    """Return inner products ``(T, m, n)`` of rows with a feature of 1 for the bias."""
    products: Tensor = left @ right.mT + 1
    return products


def _cross(added: Tensor, sets: Tensor) -> Tensor:
    """Return inner products ``(N, T, m)`` of rows ``(N, d)`` with rows ``(T, m, d)``, plus 1 for the bias."""
    products: Tensor = (added @ sets.flatten(0, 1).T).unflatten(1, sets.shape[:2]) + 1
    return products


def _chunks(x: Tensor, y: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(x.split(size), y.split(size), strict=True)
