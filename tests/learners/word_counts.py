"""Counts of words after an attack."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gradshape.learners.spambayes import TokenCounts


def with_spam(counts: TokenCounts, tokens: NDArray[np.bool_], copies: int) -> TokenCounts:
    """Add ``copies`` spam messages that hold ``tokens (V,)`` to the counts, without making the rows."""
    return replace(counts, spam=counts.spam + copies * tokens, spam_messages=counts.spam_messages + copies)
