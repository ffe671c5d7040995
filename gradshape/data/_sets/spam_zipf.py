"""Made-up mail, ham and spam: which of 2,000 words occur in a message, for filters that score words.

Words have a Zipf profile: the word of rank ``r`` is drawn in proportion to ``1 / (r + 10)``. Half of the words are
neutral; each of the others leans towards spam by a factor ``e^t`` and away from ham by as much, with ``t`` uniform in
[-1.45, 1.45]. Either class has 8 topics, each of which makes 5 % of the words 6 times as likely. A message has a topic
and draws a number of words between 35 and 160, uniform in its logarithm; only which words it holds is kept.

Calibrated to what is known of SpamBayes with 1,000 + 1,000 training messages; in brackets is what it does on this data
with the constants of Nelson et al. 2008. Of the ham, 0.6 % (0.8 %) is not delivered as ham, and 98 % (98.4 %) once 1 %
of the training messages are spam that holds every word.
"""

from pathlib import Path

import numpy as np

from gradshape.data.source import RawSplit, Source, register

_TRAIN, _TEST, _WORDS, _TOPICS = 2_000, 1_000, 2_000, 8
_RANK_OFFSET, _LEANING_SHARE, _LEANING = 10, 0.5, 1.45
_TOPIC_SHARE, _TOPIC_FACTOR = 0.05, 6.0
_DRAWS = (35.0, 160.0)
_SEED = 0


def read(folder: Path) -> tuple[RawSplit, RawSplit]:
    """Return 2,000 train and 1,000 test messages, half of them spam, the same on every call."""
    # Only uniform numbers are drawn: they are the part of numpy's Generator that does not change between versions.
    generator = np.random.Generator(np.random.PCG64(_SEED))
    count = _TRAIN + _TEST
    leans = generator.random(_WORDS) < _LEANING_SHARE
    lean = np.where(leans, (2 * generator.random(_WORDS) - 1) * _LEANING, 0.0)
    by_class = np.exp([[-1.0], [1.0]] * lean) / (np.arange(_WORDS) + 1 + _RANK_OFFSET)
    favoured = generator.random((2, _TOPICS, _WORDS)) < _TOPIC_SHARE
    weights = by_class[:, None] * np.where(favoured, _TOPIC_FACTOR, 1.0)
    weights /= weights.sum(axis=-1, keepdims=True)

    y = np.arange(count) % 2
    topic = (generator.random(count) * _TOPICS).astype(np.int64)
    draws = _DRAWS[0] * (_DRAWS[1] / _DRAWS[0]) ** generator.random(count)
    # The probability that a word is among the draws if their number is a Poisson variable with this mean.
    chance = -np.expm1(-draws[:, None] * weights[y, topic])
    x = (generator.random((count, _WORDS)) < chance).view(np.uint8)
    return RawSplit(x[:_TRAIN], y[:_TRAIN]), RawSplit(x[_TRAIN:], y[_TRAIN:])


SPAM_ZIPF = register(
    Source(
        name="spam_zipf",
        description="made-up mail: which of 2,000 words a message holds, ham (0) or spam (1)",
        read=read,
        shape=(_WORDS,),
        num_classes=2,
        rows=(_TRAIN, _TEST),
    )
)
