"""What is written down after every epoch, the same for every way of training."""

import torch
from torch import Tensor

from gradshape.training.victim import State, TrainingResult


class Curves:
    """Test accuracies and predictions of ``K`` victims, epoch by epoch."""

    def __init__(self, victims: int) -> None:
        self._accuracy: list[Tensor] = []
        self._predictions: list[Tensor] = []
        self._best = torch.full((victims,), -1.0, dtype=torch.float64)
        self._diverged: list[int | None] = [None] * victims

    def add(self, correct: Tensor, finite: Tensor, rows: int, watched: Tensor | None) -> Tensor:
        """Record one epoch; returns the indices of the victims that are better than ever before.

        Args:
            correct: ``(K,)`` number of test rows that each victim classifies correctly.
            finite: ``(K,)`` bool, whether all of its test logits are finite.
            rows: number of test rows.
            watched: ``(K, M)`` predicted classes of watched rows, or ``None``.
        """
        accuracy = correct.cpu().double() / rows
        self._accuracy.append(accuracy)
        for victim in (~finite.cpu()).nonzero().flatten().tolist():
            if self._diverged[victim] is None:
                self._diverged[victim] = len(self._accuracy)
        if watched is not None:
            self._predictions.append(watched.cpu())
        better = accuracy > self._best
        self._best = torch.where(better, accuracy, self._best)
        return better.nonzero().flatten()

    def result(self, victim: int, watched_rows: int | None, last: State | None, best: State | None) -> TrainingResult:
        """What is known of one victim; the first ``watched_rows`` of its predictions are its own."""
        predictions = None
        if watched_rows is not None:
            predictions = torch.stack([epoch[victim, :watched_rows] for epoch in self._predictions])
        accuracy = torch.stack([epoch[victim] for epoch in self._accuracy])
        return TrainingResult(accuracy, predictions, last, best, self._diverged[victim])


def classes(logits: Tensor) -> Tensor:
    """``(..., C)`` logits to ``(...,)`` predicted classes, -1 where a logit is not finite."""
    predicted = logits.argmax(-1)
    return torch.where(logits.isfinite().all(-1), predicted, -1)
