"""The made-up mail, and that filters and attacks on it behave as is known of them."""

import numpy as np
import pytest

from gradshape import learners
from gradshape.data import info, load
from gradshape.learners.spambayes import PAPER, SpamBayes, TokenCounts
from tests.learners.word_counts import with_spam

MAIL = load("spam_zipf")
X, Y = MAIL.train.x.numpy(), MAIL.train.y.numpy()
HAM = MAIL.test.x.numpy()[MAIL.test.y.numpy() == 0]
SPAM = MAIL.test.x.numpy()[MAIL.test.y.numpy() == 1]
COUNTS = TokenCounts.from_messages(X, Y)
EVERY_WORD = np.ones(X.shape[1], dtype=np.bool_)


def filter_after(messages: int, *, words: np.ndarray = EVERY_WORD) -> SpamBayes:
    """The filter of the paper after so many spam messages that hold ``words``."""
    return SpamBayes(PAPER).fit_counts(with_spam(COUNTS, words, messages))


def test_either_class_has_half_of_the_messages() -> None:
    assert np.bincount(Y).tolist() == [1000, 1000]
    assert (len(HAM), len(SPAM)) == (500, 500)


def test_it_is_loaded_without_a_file_and_holds_presences() -> None:
    assert info("spam_zipf").embedded
    assert np.unique(X).tolist() == [0, 1]


def test_words_have_a_zipf_profile_and_messages_a_few_dozen_of_them() -> None:
    share = X.mean(axis=0)
    assert share[:10].mean() > 10 * share[1000:].mean()
    assert 20 < np.median(X.sum(axis=1)) < 80


def test_half_of_the_words_say_nothing_of_the_class() -> None:
    # Both kinds of topics favour words at random; what leans is told by odds over all topics.
    frequent = X.sum(axis=0) > 60
    odds = np.abs(np.log((COUNTS.spam + 1) / (COUNTS.ham + 1)))[frequent]
    assert 0.2 < (odds < 0.4).mean() < 0.7


def test_the_clean_filter_delivers_ham_and_stops_spam() -> None:
    clean = filter_after(0)
    assert clean.predict(HAM).mean() < 0.03
    assert clean.predict(SPAM).mean() > 0.98


def test_a_dictionary_of_one_percent_stops_ham() -> None:
    assert filter_after(20).predict(HAM).mean() > 0.9


def test_a_dictionary_of_five_percent_has_ham_called_spam() -> None:
    assert filter_after(100).classify(HAM).mean() > 1.8


def test_more_of_the_dictionary_never_delivers_more() -> None:
    scores = [filter_after(messages).score(HAM) for messages in (0, 5, 20, 100, 1000)]
    assert np.mean(scores, axis=1).tolist() == sorted(np.mean(scores, axis=1).tolist())


@pytest.mark.parametrize(("known", "low", "high"), [(0.9, 0.95, 1.0), (0.3, 0.02, 0.5)])
def test_a_focused_attack_of_three_percent_needs_to_know_the_words(known: float, low: float, high: float) -> None:
    generator = np.random.default_rng(0)
    delivered = HAM[filter_after(0).predict(HAM) == 0][:60]
    stopped = [
        filter_after(60, words=(generator.random(len(message)) < known) & (message > 0)).predict(message[None])[0]
        for message in delivered
    ]
    assert low <= np.mean(stopped) <= high


@pytest.mark.parametrize("share", [0.01, 0.05, 0.09])
def test_naive_bayes_that_weighs_absent_words_goes_on_delivering_ham(share: float) -> None:
    count = round(share * len(X))
    bayes = learners.build("naive_bayes", {})
    bayes.fit(np.concatenate([X, np.ones((count, X.shape[1]))]), np.concatenate([Y, np.ones(count, np.int64)]))
    assert bayes.predict(HAM).mean() < 0.01


def test_what_naive_bayes_loses_to_a_dictionary_is_spam() -> None:
    bayes = learners.build("naive_bayes", {})
    bayes.fit(X, Y)
    assert bayes.predict(SPAM).mean() > 0.99
    bayes.fit(np.concatenate([X, np.ones((180, X.shape[1]))]), np.concatenate([Y, np.ones(180, np.int64)]))
    assert bayes.predict(SPAM).mean() < 0.1
