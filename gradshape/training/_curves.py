"""The records of a training, written after every epoch, the same for all families."""

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from gradshape.training.family import Score
from gradshape.training.victim import TrainingResult, Victim

# Stands for every class where none in particular is intended.
_ANY = -2


def score(predict: Callable[[Tensor], Tensor], parts: Iterable[tuple[Tensor, Tensor]]) -> Score:
    """Score ``k`` victims on the test rows, part by part.

    Args:
        predict: maps rows ``(M, ...)`` to the classes ``(k, M)`` that the victims predict, -1 where a logit is not
            finite.
        parts: rows ``(M, ...)`` and labels ``(M,)``; at least one part.
    """
    correct: Tensor | int = 0
    finite: Tensor | bool = True
    rows = 0
    for x, y in parts:
        predicted = predict(x)
        correct = correct + (predicted == y).sum(1)
        finite = finite & (predicted >= 0).all(1)
        rows += len(y)
    return Score(torch.as_tensor(correct).cpu().double() / rows, torch.as_tensor(finite).cpu())


class Curves:
    """Test accuracies and predictions of some victims, epoch by epoch, and which of them predict what is intended."""

    def __init__(self, victims: Sequence[Victim]) -> None:
        self._watched = [None if victim.watch is None else len(victim.watch) for victim in victims]
        self._wants = torch.tensor([victim.intended is not None for victim in victims])
        self._intended = torch.full((len(victims), max((rows or 0 for rows in self._watched), default=0)), _ANY)
        for k, victim in enumerate(victims):
            if victim.intended is not None:
                self._intended[k, : len(victim.intended)] = victim.intended
        self._accuracy: list[Tensor] = []
        self._predictions: list[Tensor] = []
        self._epochs = [0] * len(victims)
        self._best = torch.full((len(victims),), -1.0, dtype=torch.float64)
        self._diverged: list[int | None] = [None] * len(victims)

    def end_epoch(self, victims: Sequence[int], watched: Tensor | None) -> list[int]:
        """Record that an epoch is over.

        Args:
            victims: the ``k`` victims that were trained, by number.
            watched: ``(K, M)`` predicted classes of watched rows, or ``None``; only the first ``k`` count.

        Returns:
            Places in ``victims`` of those that predict what is intended.
        """
        index = torch.tensor(list(victims))
        self._accuracy.append(torch.full(self._best.shape, torch.nan, dtype=torch.float64))
        for victim in victims:
            self._epochs[victim] += 1
        if watched is None:
            return []
        predictions = torch.full((len(self._epochs), watched.shape[1]), -1)
        predictions[index] = watched[: len(index)].cpu()
        self._predictions.append(predictions)
        intended = self._intended[index]
        done = self._wants[index] & ((predictions[index] == intended) | (intended == _ANY)).all(1)
        return done.nonzero().flatten().tolist()

    def score(self, victims: Sequence[int], seen: Score) -> list[int]:
        """Record how well some of the victims predict the test rows after the epoch that ended last.

        Args:
            victims: by number.
            seen: their score.

        Returns:
            Places in ``victims`` of those that are better than ever before.
        """
        index = torch.tensor(list(victims))
        accuracy = seen.accuracy
        self._accuracy[-1][index] = accuracy
        for victim in index[~seen.finite].tolist():
            if self._diverged[victim] is None:
                self._diverged[victim] = len(self._accuracy)
        better = accuracy > self._best[index]
        self._best[index] = torch.where(better, accuracy, self._best[index])
        return better.nonzero().flatten().tolist()

    def result(self, victim: int) -> TrainingResult:
        """Return the result of one victim, without its parameters."""
        epochs, watched = self._epochs[victim], self._watched[victim]
        predictions = None
        if watched == 0:
            predictions = torch.empty(epochs, 0, dtype=torch.int64)
        elif watched is not None and self._predictions:
            predictions = torch.stack([epoch[victim, :watched] for epoch in self._predictions[:epochs]])
        accuracy = torch.stack([epoch[victim] for epoch in self._accuracy[:epochs]])
        return TrainingResult(accuracy[~accuracy.isnan()], predictions=predictions, diverged=self._diverged[victim])


def classes(logits: Tensor, *, dim: int = -1) -> Tensor:
    """Return the predicted classes of logits, whose classes lie along ``dim``; -1 where a logit is not finite."""
    # Faster than `argmax` with `isfinite`: inf - inf and NaN - NaN are NaN.
    predicted = logits.max(dim).indices
    return torch.where((logits - logits).sum(dim) == 0, predicted, -1)
