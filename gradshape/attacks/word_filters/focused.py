"""Spam made of the words of one future message, so that this message is not delivered."""

from dataclasses import dataclass
from typing import ClassVar

import torch

from gradshape import _validate
from gradshape.attacks._drawing import draw_rows
from gradshape.attacks.base import ProportionalAttack, VictimView
from gradshape.attacks.poison_set import PoisonSet
from gradshape.attacks.threat import Goal, ThreatModel
from gradshape.attacks.word_filters import _words
from gradshape.data import Dataset


@dataclass(frozen=True)
class FocusedAttack(ProportionalAttack):
    """Add messages that hold what is known of the words of a target, and are labelled spam.

    Which words of the target are known is drawn once; all rows hold them. With several targets the rows take turns.

    Args:
        fraction: poison rows relative to the number of *clean* rows, in [0, 1]. 0 is valid and adds nothing.
        known: chance of each of the target's words to be known, in [0, 1].
        header: chance of each word of a real spam message, another one for each row, to be held too, in [0, 1]: what
            stands for the headers that the paper takes from real spam, where words are not told by their place.
        spam: the class that poison is given, 0 or 1.

    Raises:
        ValueError: a value is outside its range; or, when crafting, the target is itself of class ``spam``.

    Nelson et al. 2008 (the focused attack); Barreno et al. 2010.

    >>> from gradshape import data
    >>> from gradshape.data import Split
    >>> mail = data.load("spam_zipf")
    >>> ham = Split(mail.test.x[:1], mail.test.y[:1])
    >>> poison = FocusedAttack(0.01, known=0.5)(mail, seed=0, target=ham)
    >>> len(poison), bool((poison.x <= ham.x).all()), poison.y.unique().tolist()
    (20, True, [1])
    """

    known: float = 0.9
    header: float = 0.0
    spam: int = 1

    threat: ClassVar[ThreatModel] = _words.word_filter_threat(Goal.TARGETED)
    adaptive: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _validate.fraction(fraction=self.fraction)
        _validate.fraction(known=self.known, header=self.header)
        _words.check_spam(self.spam)

    @property
    def label(self) -> str:
        header = f"_header{100 * self.header:g}" if self.header else ""
        kind = f"focused_known{100 * self.known:g}{header}"
        return f"{kind}{'' if self.spam else '_as0'}_{100 * self.fraction:g}"

    def unsuitable(self, dataset: Dataset) -> str | None:
        return super().unsuitable(dataset) or _words.lacks_words(dataset)

    def craft(self, victim: VictimView, count: int, *, generator: torch.Generator) -> PoisonSet:
        target = victim.target
        if (target.y == self.spam).any():
            raise ValueError(
                f"{self.label}: the target is of class {self.spam}, the one that poison is given: "
                f"expected class {1 - self.spam}"
            )
        known = target.x * _words.random_words(target.x, share=self.known, generator=generator)
        x = known[torch.arange(count) % len(target)]
        y = torch.full((count,), self.spam)
        if not self.header:
            return PoisonSet.added(x, y)
        spam = (victim.train.y == self.spam).nonzero().squeeze(1)
        source = spam[draw_rows(len(spam), count, generator)]
        header = victim.train.x[source] * _words.random_words(x, share=self.header, generator=generator)
        return PoisonSet.added(torch.maximum(x, header), y, source=source)
