"""The SpamBayes filter: Robinson's token scores from counts, combined by Fisher's method over the tokens present."""

from dataclasses import KW_ONLY, dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammainc

from gradshape import _validate

Array = NDArray[Any]
Floats = NDArray[np.float64]

# Number of rows scored at once, which bounds the memory that a large corpus takes.
_ROWS = 2048


@dataclass(frozen=True)
class SpamBayesConstants:
    """The constants of the filter.

    Attributes:
        strength: ``s``, the number of messages that the prior counts for, > 0.
        prior: ``x0``, the score of a token that was never seen, in (0, 1).
        least_distance: tokens whose score is nearer to 0.5 than this, in [0, 0.5], are no evidence.
        most_tokens: number of tokens that count as evidence, those farthest from 0.5, at least 1.
        ham_cutoff, spam_cutoff: a message is ham if it scores below the first, spam from the second on, and unsure
            between them; ``0 <= ham_cutoff <= spam_cutoff <= 1``.

    Raises:
        ValueError: a value is outside its range.
    """

    strength: float = 0.45
    prior: float = 0.5
    least_distance: float = 0.1
    _: KW_ONLY
    most_tokens: int = 150
    ham_cutoff: float = 0.20
    spam_cutoff: float = 0.90

    def __post_init__(self) -> None:
        _validate.positive(strength=self.strength)
        _validate.positive_int(most_tokens=self.most_tokens)
        _validate.fraction(ham_cutoff=self.ham_cutoff, spam_cutoff=self.spam_cutoff)
        _validate.open_fraction(prior=self.prior)
        _validate.non_negative(least_distance=self.least_distance)
        if not 0 <= self.least_distance <= 0.5:
            raise ValueError(f"least_distance={self.least_distance!r}: expected a number in [0, 0.5]")
        if self.ham_cutoff > self.spam_cutoff:
            raise ValueError(
                f"ham_cutoff={self.ham_cutoff!r}: expected at most spam_cutoff, which is {self.spam_cutoff!r}"
            )


# The first are the constants of the SpamBayes program, the second those that Nelson et al. 2008 are quoted with.
RELEASED = SpamBayesConstants()
PAPER = SpamBayesConstants(strength=1.0, ham_cutoff=0.15)


class Classification(IntEnum):
    """The filter's classification of a message."""

    HAM = 0
    UNSURE = 1
    SPAM = 2


@dataclass(frozen=True, eq=False)
class TokenCounts:
    """All that the filter learns: the number of messages of each kind, and of those with each token.

    Attributes:
        ham, spam: ``(V,)`` float64 ``N_H(w)``, ``N_S(w)``.
        ham_messages, spam_messages: ``N_H``, ``N_S``.
    """

    ham: Floats
    spam: Floats
    ham_messages: int
    spam_messages: int

    @classmethod
    def from_messages(cls, x: Array, y: Array) -> "TokenCounts":
        """Count the messages ``x (N, V)``, where a token is present if its value is above 0.5; ``y`` is 1 for spam.

        Raises:
            ValueError: the shapes do not fit, or a label is neither 0 nor 1.
        """
        x, y = np.asarray(x), np.asarray(y)
        if x.ndim != 2 or y.shape != (len(x),):
            raise ValueError(f"x has shape {x.shape} and y {y.shape}: expected (N, V) and (N,)")
        if not np.isin(y, (0, 1)).all():
            raise ValueError(f"y has the labels {np.unique(y).tolist()}: expected 0 (ham) and 1 (spam)")
        spam = y == 1
        ham_counts, spam_counts = ((x[rows] > 0.5).sum(0, dtype=np.float64) for rows in (~spam, spam))
        return cls(ham_counts, spam_counts, int((~spam).sum()), int(spam.sum()))


def token_scores(counts: TokenCounts, constants: SpamBayesConstants = RELEASED) -> Floats:
    """Score how much each token speaks for spam: ``f(w) = (s x0 + N(w) P(w)) / (s + N(w))``.

    ``P(w)`` is the share of spam messages with ``w`` over the sum of that share and the share of ham messages with
    ``w``; ``N(w)`` counts the messages with ``w``.

    Args:
        counts: a kind without messages counts as one message without tokens.
        constants: ``s`` and ``x0``.

    Returns:
        ``(V,)`` float64 in (0, 1); ``x0`` for a token that was never seen. Never falls when spam messages with the
        token are added, if ``x0`` is at most 0.5 and there is at most twice as much spam as ham to begin with.

    Robinson 2003, "A statistical approach to the spam problem"; Nelson et al. 2008, "Exploiting machine learning to
    subvert your spam filter".

    >>> seen = TokenCounts(np.array([0.0, 4.0, 0.0]), np.array([4.0, 4.0, 0.0]), 10, 10)
    >>> token_scores(seen).round(3).tolist()
    [0.949, 0.5, 0.5]
    """
    spam, ham = counts.spam / max(counts.spam_messages, 1), counts.ham / max(counts.ham_messages, 1)
    either = spam + ham
    share = np.divide(spam, either, out=np.full_like(either, constants.prior), where=either > 0)
    seen = counts.spam + counts.ham
    scores: Floats = (constants.strength * constants.prior + seen * share) / (constants.strength + seen)
    return scores


def message_scores(x: Array, scores: Array, constants: SpamBayesConstants = RELEASED) -> Floats:
    """Score how much each message looks like spam, by Fisher's method on both sides, ``(1 + S - H) / 2``.

    The evidence of a message are its present tokens at least ``least_distance`` from 0.5, the ``most_tokens`` farthest
    of them; of equally far ones the higher score goes first, then the later token. With ``m`` of them,
    ``S = 1 - Q(-2 sum ln(1 - f), 2m)`` and ``H = 1 - Q(-2 sum ln f, 2m)``, ``Q`` the survival function of chi-square.
    Absent tokens play no part.

    Args:
        x: ``(N, V)``; a token is present if its value is above 0.5.
        scores: ``(V,)`` in (0, 1), of :func:`token_scores`.
        constants: which tokens are evidence.

    Returns:
        ``(N,)`` float64 in [0, 1]: 0 is ham, 1 is spam; 0.5 for a message without evidence.

    Nelson et al. 2008; the order of ties is that of the released program.

    >>> message_scores(np.eye(2), np.array([0.9, 0.5])).round(3).tolist()
    [0.9, 0.5]
    """
    distance = np.abs(scores - 0.5)
    # All messages share one order of tokens; the first tokens of it that are present are their evidence.
    order = np.lexsort((np.arange(len(scores)), scores, distance))[::-1]
    order = order[distance[order] >= constants.least_distance]
    for_ham, for_spam = -np.log(scores[order]), -np.log1p(-scores[order])
    result = np.full(len(x), 0.5)
    for start in range(0, len(x), _ROWS):
        rows = slice(start, start + _ROWS)
        present = np.asarray(x[rows])[:, order] > 0.5
        present &= present.cumsum(1, dtype=np.int32) <= constants.most_tokens
        evidence = present.astype(np.float64)
        tokens = evidence.sum(1)
        some = tokens > 0
        # With an even number 2m of degrees, 1 - Q(2t, 2m) is the regularised lower incomplete gamma function P(m, t).
        spam, ham = (gammainc(tokens[some], (evidence @ t)[some]) for t in (for_spam, for_ham))
        result[rows][some] = (1 + spam - ham) / 2
    return result


class SpamBayes:
    """The filter as an estimator: class 0 is ham, class 1 is spam.

    Args:
        constants: see :class:`SpamBayesConstants`; ``RELEASED`` and ``PAPER`` are the published ones.
        cutoff: :meth:`predict` returns 1 from this score on, in [0, 1]; the ham cutoff if omitted, so that 1 means "not
            delivered as ham".

    Raises:
        ValueError: ``cutoff`` is outside [0, 1].

    >>> x, y = np.array([[1, 1, 0], [1, 0, 0], [1, 0, 1], [1, 0, 1]]), np.array([0, 0, 1, 1])
    >>> filter = SpamBayes().fit(x, y)
    >>> filter.score(x).round(2).tolist(), filter.predict(x).tolist()
    ([0.16, 0.5, 0.91, 0.91], [0, 1, 1, 1])
    >>> [verdict.name for verdict in map(Classification, filter.classify(x))]
    ['HAM', 'UNSURE', 'SPAM', 'SPAM']
    """

    def __init__(self, constants: SpamBayesConstants = RELEASED, *, cutoff: float | None = None) -> None:
        self.constants = constants
        self.cutoff = constants.ham_cutoff if cutoff is None else cutoff
        _validate.fraction(cutoff=self.cutoff)
        self._tokens: Floats | None = None

    def fit(self, x: Array, y: Array, /) -> "SpamBayes":
        """Count the messages ``x (N, V)``; see :meth:`TokenCounts.from_messages`."""
        return self.fit_counts(TokenCounts.from_messages(x, y))

    def fit_counts(self, counts: TokenCounts) -> "SpamBayes":
        """Train on messages that are already counted."""
        self._tokens = token_scores(counts, self.constants)
        return self

    @property
    def tokens(self) -> Floats:
        """``(V,)`` scores of the tokens.

        Raises:
            ValueError: nothing was fitted.
        """
        if self._tokens is None:
            raise ValueError("the filter was not trained: call fit(x, y) first")
        return self._tokens

    def score(self, x: Array, /) -> Floats:
        """Return ``(N,)`` scores of the messages ``x (N, V)`` in [0, 1], see :func:`message_scores`.

        Raises:
            ValueError: nothing was fitted, or ``x`` has another number of tokens.
        """
        x = np.asarray(x)
        if x.ndim != 2 or x.shape[1] != len(self.tokens):
            raise ValueError(f"x has shape {x.shape}: expected (N, {len(self.tokens)})")
        return message_scores(x, self.tokens, self.constants)

    def predict(self, x: Array, /) -> NDArray[np.int64]:
        """Return ``(N,)`` class ids: 1 where the score is at least the cutoff, else 0."""
        return (self.score(x) >= self.cutoff).astype(np.int64)

    def classify(self, x: Array, /) -> NDArray[np.int64]:
        """Return ``(N,)`` values of :class:`Classification`."""
        score, constants = self.score(x), self.constants
        return (score >= constants.ham_cutoff).astype(np.int64) + (score >= constants.spam_cutoff)
