"""Made-up mail: how often each of 1,500 words occurs in a message, for linear classifiers; few messages, many words.

Attacks that place few strong rows are known to work on such data (Koh, Steinhardt and Liang 2018, on Enron): rows are
counts, there are more words than training messages, and messages differ so much in length that a sphere around a class
is wide. On ``spam_zipf``, which keeps only whether a word occurs, they are weak: 40 messages suffice there for a linear
SVM that gets 0.3 % of the test messages wrong.

Words have a Zipf profile: the word of rank ``r`` occurs in proportion to ``1 / (r + 11)``. Half of the words are
neutral; each of the others leans towards spam by a factor ``e^t`` and away from ham by as much, with ``t`` uniform in
[-1.4, 1.4]. A message's expected number of words lies between 15 and 500, uniform in its logarithm, and each word
occurs a Poisson number of times, at most 32. In memory counts are divided by 32.

Calibrated to Enron in what matters here, where a clean SVM gets 3 % of the test messages wrong: here 2.6 % with C = 1
and 4.8 % with C = 0.3.
"""

from pathlib import Path

import numpy as np

from gradshape.data.source import RawSplit, Source, register

_TRAIN, _TEST, _WORDS = 600, 1_000, 1_500
_RANK_OFFSET, _LEANING_SHARE, _LEANING = 11, 0.5, 1.4
_LENGTH = (15.0, 500.0)
MOST = 32
_SEED = 0


def read(folder: Path) -> tuple[RawSplit, RawSplit]:
    """Return 600 train and 1,000 test messages, half of them spam, the same on every call."""
    # Only uniform numbers are drawn: they are the part of numpy's Generator that does not change between versions.
    generator = np.random.Generator(np.random.PCG64(_SEED))
    count = _TRAIN + _TEST
    leans = generator.random(_WORDS) < _LEANING_SHARE
    lean = np.where(leans, (2 * generator.random(_WORDS) - 1) * _LEANING, 0.0)
    weights = np.exp([[-1.0], [1.0]] * lean) / (np.arange(_WORDS) + _RANK_OFFSET)
    weights /= weights.sum(axis=-1, keepdims=True)

    y = np.arange(count) % 2
    length = _LENGTH[0] * (_LENGTH[1] / _LENGTH[0]) ** generator.random(count)
    mean = length[:, None] * weights[y]
    # A Poisson number is the number of cumulated probabilities that lie below a uniform number.
    uniform = generator.random((count, _WORDS))
    chance = np.exp(-mean)
    below = chance.copy()
    x = np.zeros((count, _WORDS), dtype=np.uint8)
    for number in range(1, MOST + 1):
        x += uniform > below
        chance *= mean / number
        below += chance
    return RawSplit(x[:_TRAIN], y[:_TRAIN]), RawSplit(x[_TRAIN:], y[_TRAIN:])


MAIL_COUNTS = register(
    Source(
        name="mail_counts",
        description="made-up mail: how often each of 1,500 words occurs in a message, ham (0) or spam (1)",
        read=read,
        scale=MOST,
        shape=(_WORDS,),
        num_classes=2,
        rows=(_TRAIN, _TEST),
    )
)
