"""The SpamBayes filter."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from gradshape import learners
from gradshape.data import load
from gradshape.learners.spambayes import (
    PAPER,
    RELEASED,
    Classification,
    SpamBayes,
    SpamBayesConstants,
    TokenCounts,
    message_scores,
    token_scores,
)
from tests.learners.word_counts import with_spam


def random_counts(seed: int, *, ham: int = 20, spam: int = 20, tokens: int = 40) -> TokenCounts:
    generator = np.random.default_rng(seed)
    ham_counts, spam_counts = generator.integers(0, ham + 1, tokens), generator.integers(0, spam + 1, tokens)
    return TokenCounts(ham_counts.astype(float), spam_counts.astype(float), ham, spam)


def score_by_hand(present: NDArray[np.bool_], scores: NDArray[np.float64], constants: SpamBayesConstants) -> float:
    """Robinson's and Fisher's formulas for one message, with scipy's chi-square."""
    evidence = [float(f) for f in scores[present] if abs(f - 0.5) >= constants.least_distance]
    evidence = sorted(evidence, key=lambda f: (abs(f - 0.5), f), reverse=True)[: constants.most_tokens]
    if not evidence:
        return 0.5
    degrees = 2 * len(evidence)
    spam = 1 - stats.chi2.sf(-2 * sum(np.log(1 - f) for f in evidence), degrees)
    ham = 1 - stats.chi2.sf(-2 * sum(np.log(f) for f in evidence), degrees)
    return float((1 + spam - ham) / 2)


def test_the_constants_are_those_of_the_program_and_of_the_paper() -> None:
    assert SpamBayesConstants(0.45, 0.5, 0.1, most_tokens=150, ham_cutoff=0.20, spam_cutoff=0.90) == RELEASED
    assert SpamBayesConstants(1.0, 0.5, 0.1, most_tokens=150, ham_cutoff=0.15, spam_cutoff=0.90) == PAPER


def test_a_token_score_is_the_published_formula() -> None:
    # 3 of 4 spam and 1 of 8 ham messages hold the token.
    share = (3 / 4) / (3 / 4 + 1 / 8)
    counts = TokenCounts(np.array([1.0]), np.array([3.0]), 8, 4)
    assert token_scores(counts)[0] == pytest.approx((0.45 * 0.5 + 4 * share) / (0.45 + 4))
    assert token_scores(counts, PAPER)[0] == pytest.approx((0.5 + 4 * share) / 5)


def test_a_token_that_was_never_seen_has_the_prior_as_its_score() -> None:
    counts = TokenCounts(np.zeros(1), np.zeros(1), 8, 4)
    assert token_scores(counts, SpamBayesConstants(prior=0.4)).tolist() == [0.4]


def test_a_kind_without_messages_is_a_kind_without_tokens() -> None:
    only_ham = TokenCounts(np.array([2.0, 0.0]), np.zeros(2), 4, 0)
    scores = token_scores(only_ham)
    assert scores[0] < 0.1
    assert scores[1] == 0.5


@given(st.integers(0, 2**32), st.integers(1, 40), st.integers(0, 80), st.integers(0, 100), st.floats(0.01, 100))
def test_scores_of_attacked_tokens_never_fall(seed: int, ham: int, spam: int, before: int, strength: float) -> None:
    counts = random_counts(seed, ham=ham, spam=min(spam, 2 * ham))
    attacked, constants = np.arange(40) % 2 == 0, SpamBayesConstants(strength=strength)
    fewer, many = (token_scores(with_spam(counts, attacked, k), constants) for k in (before, before + 1))
    assert (many[attacked] >= fewer[attacked] - 1e-14).all()


def test_where_there_is_little_ham_the_score_of_a_ham_token_may_fall_at_first() -> None:
    counts = TokenCounts(np.array([1.0]), np.array([0.0]), 10, 1000)
    scores = [token_scores(with_spam(counts, np.array([True]), k))[0] for k in (0, 1, 1000)]
    assert scores[1] < scores[0] < scores[2]


def test_counts_with_spam_are_those_of_training_on_the_rows() -> None:
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 2, (30, 9)), generator.integers(0, 2, 30)
    attacked = np.arange(9) < 5
    short = with_spam(TokenCounts.from_messages(x, y), attacked, 7)
    long = TokenCounts.from_messages(
        np.concatenate([x, np.tile(attacked, (7, 1))]), np.concatenate([y, np.ones(7, np.int64)])
    )
    assert short.spam.tolist() == long.spam.tolist()
    assert short.ham.tolist() == long.ham.tolist()
    assert (short.ham_messages, short.spam_messages) == (long.ham_messages, long.spam_messages)


@pytest.mark.parametrize("constants", [RELEASED, PAPER, SpamBayesConstants(most_tokens=5, least_distance=0.2)])
@pytest.mark.parametrize("seed", range(3))
def test_message_scores_are_fishers_with_the_chi_square_of_scipy(constants: SpamBayesConstants, seed: int) -> None:
    generator = np.random.default_rng(seed)
    x = generator.random((50, 400)) < generator.random((50, 1))
    scores = generator.random(400)
    expected = [score_by_hand(row, scores, constants) for row in x]
    assert message_scores(x, scores, constants) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tokens", [1, 2, 7, 150])
def test_the_chi_square_of_an_even_number_of_degrees_has_a_closed_form(tokens: int) -> None:
    # All scores alike: t = -m ln(1 - f), and Q(2t, 2m) = exp(-t) sum over i < m of t^i / i!.
    f = 0.61

    def survival(t: float) -> float:
        return math.fsum(math.exp(i * math.log(t) - math.lgamma(i + 1) - t) for i in range(tokens))

    expected = (1 + (1 - survival(-tokens * math.log(1 - f))) - (1 - survival(-tokens * math.log(f)))) / 2
    found = message_scores(np.ones((1, tokens)), np.full(tokens, f))
    assert found[0] == pytest.approx(expected, rel=1e-9)


def test_only_the_farthest_tokens_are_evidence() -> None:
    scores = np.concatenate([np.full(150, 0.95), np.full(50, 0.2)])
    both, first = message_scores(np.array([np.ones(200), np.arange(200) < 150]), scores)
    assert both == first > 0.99


def test_tokens_near_the_middle_and_absent_ones_are_no_evidence() -> None:
    scores = np.array([0.59, 0.41, 0.99, 0.9])
    assert message_scores(np.array([[1, 1, 0, 0]]), scores).tolist() == [0.5]
    [some, none] = message_scores(np.array([[1, 1, 0, 1], [0, 0, 0, 1]]), scores)
    assert some == none


def test_rows_are_scored_alike_alone_and_in_a_large_corpus() -> None:
    generator = np.random.default_rng(1)
    x, scores = generator.random((5000, 30)) < 0.3, generator.random(30)
    assert message_scores(x, scores)[[0, 2047, 2048, 4999]] == pytest.approx(
        [message_scores(x[row : row + 1], scores)[0] for row in (0, 2047, 2048, 4999)], abs=1e-14
    )


def test_verdicts_and_classes_are_read_off_the_cutoffs(monkeypatch: pytest.MonkeyPatch) -> None:
    filter = SpamBayes().fit(np.eye(2), np.array([0, 1]))
    given_scores = np.array([0.0, 0.1999, 0.20, 0.5, 0.8999, 0.90, 1.0])
    monkeypatch.setattr(SpamBayes, "score", lambda self, x: given_scores)
    verdicts = [Classification(verdict).name for verdict in filter.classify(np.eye(2))]
    assert verdicts == ["HAM", "HAM", "UNSURE", "UNSURE", "UNSURE", "SPAM", "SPAM"]
    assert filter.predict(np.eye(2)).tolist() == [0, 0, 1, 1, 1, 1, 1]


def test_by_default_unsure_is_not_delivered_and_the_spam_cutoff_delivers_it() -> None:
    mail = load("spam_zipf")
    x, y = mail.train.x.numpy(), mail.train.y.numpy()
    strict, lenient = SpamBayes().fit(x, y), SpamBayes(cutoff=RELEASED.spam_cutoff).fit(x, y)
    verdict = strict.classify(mail.test.x.numpy())
    assert (verdict == Classification.UNSURE).any()
    assert np.array_equal(strict.predict(mail.test.x.numpy()), verdict != Classification.HAM)
    assert np.array_equal(lenient.predict(mail.test.x.numpy()), verdict == Classification.SPAM)


def test_the_estimator_takes_a_variant_and_single_constants() -> None:
    built = learners.build("spambayes", {"variant": "paper", "most_tokens": 20, "cutoff": 0.5})
    assert isinstance(built, SpamBayes)
    assert built.constants == replace(PAPER, most_tokens=20)
    assert built.cutoff == 0.5
    assert learners.build("spambayes", {}).cutoff == RELEASED.ham_cutoff  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"variant": "papre"}, "unknown variant 'papre': did you mean 'paper'"),
        ({"cutoff": 1.2}, r"cutoff=1.2: expected a number in \[0, 1\]"),
        ({"strength": 0.0}, "strength=0.0"),
        ({"prior": 1.0}, r"prior=1.0: expected a number in \(0, 1\)"),
        ({"least_distance": 0.6}, r"least_distance=0.6: expected a number in \[0, 0.5\]"),
        ({"most_tokens": 0}, "most_tokens=0"),
        ({"ham_cutoff": 0.95}, "ham_cutoff=0.95: expected at most spam_cutoff, which is 0.9"),
        ({"strenght": 1.0}, "spambayes.*strenght"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        learners.build("spambayes", settings)


def test_data_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match=r"y \(3,\): expected \(N, V\) and \(N,\)"):
        SpamBayes().fit(np.eye(2), np.zeros(3))
    with pytest.raises(ValueError, match=r"labels \[0, 2\]: expected 0 \(ham\) and 1 \(spam\)"):
        SpamBayes().fit(np.eye(2), np.array([0, 2]))
    with pytest.raises(ValueError, match="call fit"):
        SpamBayes().score(np.eye(2))
    with pytest.raises(ValueError, match=r"expected \(N, 2\)"):
        SpamBayes().fit(np.eye(2), np.array([0, 1])).score(np.eye(3))
