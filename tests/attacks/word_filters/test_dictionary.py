"""Spam that holds a dictionary."""

import pytest
import torch

from gradshape.attacks import DictionaryAttack, frequent_words
from gradshape.data import Dataset, Split, load
from gradshape.testing._datasets import words
from gradshape.training import Fit, Victim, train_victims
from tests.attacks.attacks import DATASETS
from tests.training.samples import blobs


def accuracies(attack: DictionaryAttack, recipe: Fit) -> tuple[float, float, float]:
    """On clean training data; and on poisoned data, of ham and of spam."""
    mail = load("spam_zipf")
    poison = attack(mail, seed=0).rows
    victims = [Victim(recipe, 0), Victim(recipe, 0, private=poison, watch=mail.test.x)]
    clean, poisoned = train_victims(mail, victims)
    assert poisoned.predictions is not None
    correct = (poisoned.predictions[0] == mail.test.y).double()
    return float(clean.accuracy[-1]), float(correct[mail.test.y == 0].mean()), float(correct[mail.test.y == 1].mean())


def test_every_row_holds_every_word_and_is_spam() -> None:
    poison = DictionaryAttack(0.1)(words(), seed=0)
    assert poison.x.tolist() == [[1] * 12] * 6
    assert poison.y.tolist() == [1] * 6
    assert poison.source.tolist() == [-1] * 6
    assert len(poison.replaced) == 0


def test_the_other_class_can_be_spam() -> None:
    assert DictionaryAttack(0.1, spam=0)(words(), seed=0).y.tolist() == [0] * 6


@pytest.mark.parametrize(("share", "count"), [(1e-3, 1), (0.25, 3), (0.5, 6), (1, 12)])
def test_a_share_of_the_lexicon_holds_the_most_frequent_words(share: float, count: int) -> None:
    dataset = words()
    poison = DictionaryAttack(0.05, lexicon=share)(dataset, seed=0)
    held = poison.x[0] == 1
    frequency = dataset.train.x.sum(0)
    assert held.sum() == count
    assert count == 12 or frequency[held].min() >= frequency[~held].max()


def test_of_equally_frequent_words_the_first_are_held() -> None:
    assert frequent_words(torch.ones(3, 2000), share=0.4).tolist() == [True] * 800 + [False] * 1200


@pytest.mark.parametrize(("fraction", "rows", "budget"), [(0, 100, 0), (0.01, 10_000, 100), (0.01, 2000, 20)])
def test_the_budget_is_relative_to_the_clean_rows(fraction: float, rows: int, budget: int) -> None:
    assert DictionaryAttack(fraction).budget(rows) == budget


def test_labels_name_intensity_last() -> None:
    attack = DictionaryAttack(0.01)
    assert (attack.label, attack.family) == ("dictionary_1", "dictionary")
    attack = DictionaryAttack(0.005, lexicon=0.1, spam=0)
    assert (attack.label, attack.family) == ("dictionary_top10_as0_0.5", "dictionary_top10_as0")


def fractional() -> Dataset:
    dataset = words()
    return Dataset("fractional", Split(dataset.train.x * 0.5, dataset.train.y), dataset.test, num_classes=2)


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        pytest.param(blobs(classes=2, shape=(1, 4, 4)), r"shape \(1, 4, 4\): expected \(V,\)", id="pictures"),
        pytest.param(fractional(), "value 0.5: expected 1 for a word that is present and 0", id="no presences"),
        pytest.param(DATASETS["pictures"], "attacks binary tasks, and this one has 4 classes", id="4 classes"),
    ],
)
def test_data_without_words_is_refused(dataset: Dataset, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        DictionaryAttack(0.1)(dataset, seed=0)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ({"fraction": -0.1}, "fraction=-0.1"),
        ({"fraction": float("inf")}, "fraction=inf"),
        ({"fraction": 0.1, "lexicon": 0.0}, "lexicon=0.0: expected a number in"),
        ({"fraction": 0.1, "lexicon": 1.5}, "lexicon=1.5: expected a number in"),
        ({"fraction": 0.1, "spam": 2}, "spam=2: expected 0 or 1"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, float], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        DictionaryAttack(**values)  # type: ignore[arg-type]


def test_one_percent_makes_the_token_filter_unusable() -> None:
    clean, ham, spam = accuracies(DictionaryAttack(0.01), Fit("spambayes"))
    assert clean > 0.99
    assert ham < 0.1
    assert spam == 1


def test_frequent_words_alone_do_half_the_harm() -> None:
    _, ham, _ = accuracies(DictionaryAttack(0.01, lexicon=0.5), Fit("spambayes"))
    assert 0.3 < ham < 0.7


def test_naive_bayes_goes_on_delivering_ham_and_misses_spam_instead() -> None:
    clean, ham, spam = accuracies(DictionaryAttack(0.09), Fit("naive_bayes"))
    assert clean > 0.99
    assert ham > 0.99
    assert spam < 0.1
