"""Spam that holds a whole dictionary, so that every word begins to look like spam."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.label_flip import LabelFlip
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import Goal, ThreatModel
from gradshape.attacks.word_filters import _words
from gradshape.data import Dataset


@dataclass(frozen=True)
class DictionaryAttack(ProportionalAttack):
    """Add messages that hold every word of a lexicon and are labelled spam.

    A filter that scores the words that a message holds, by how often they occurred in spam, comes to distrust ham. One
    that also weighs the words that a message lacks (Bernoulli naive Bayes) goes on delivering ham, and lets spam
    through instead: real spam lacks most words of the lexicon. The rows are all the same; nothing is drawn.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing.
        lexicon: share of all words that it holds, in (0, 1]: 1 for every word, which is optimal; else the words that
            occur in most training rows, of equally frequent ones the first, and at least 1.
        spam: the class that poison is given, 0 or 1.

    Raises:
        ValueError: a value is outside its range.

    Nelson et al. 2008 (the optimal attack, and those by Aspell and by Usenet words); Barreno et al. 2010.
    Their 1 % is of clean rows and poison together.

    >>> from gradshape import data
    >>> poison = DictionaryAttack(0.01)(data.load("spam_zipf"), seed=0)
    >>> len(poison), bool(poison.x.all()), poison.y.unique().tolist()
    (20, True, [1])
    """

    lexicon: float = 1.0
    spam: int = 1

    threat: ClassVar[ThreatModel] = _words.word_filter_threat(Goal.INDISCRIMINATE)
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _words.check_spam(self.spam)
        _validate.positive_fraction(lexicon=self.lexicon)

    @property
    def label(self) -> str:
        kind = "dictionary" if self.lexicon == 1 else f"dictionary_top{100 * self.lexicon:g}"
        return f"{kind}{'' if self.spam else '_as0'}_{100 * self.fraction:g}"

    @property
    def control(self) -> LabelFlip:
        return LabelFlip(self.fraction)

    def unsuitable(self, dataset: Dataset) -> str | None:
        return super().unsuitable(dataset) or _words.lacks_words(dataset)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        x = frequent_words(victim.train.x, share=self.lexicon).float().repeat(count, 1)
        return PoisonSet.added(x, torch.full((count,), self.spam))


def frequent_words(x: Tensor, *, share: float) -> Tensor:
    """Find the words that occur in most messages.

    Args:
        x: ``(N, V)``, 1 where a message holds a word, else 0.
        share: of the words, in (0, 1].

    Returns:
        ``(V,)`` bool, true for ``round(share * V)`` words and at least 1; of equally frequent ones the first.

    >>> frequent_words(torch.tensor([[0.0, 1.0, 1.0, 0.0], [0.0, 0.0, 1.0, 0.0]]), share=0.5).tolist()
    [False, True, True, False]
    """
    order = x.sum(0, dtype=torch.float64).argsort(descending=True, stable=True)
    chosen = torch.zeros(x.shape[1], dtype=torch.bool, device=x.device)
    chosen[order[: max(1, round(share * x.shape[1]))]] = True
    return chosen
