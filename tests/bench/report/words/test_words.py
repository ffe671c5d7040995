import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from gradshape import learners, models
from gradshape_bench.report.words import (
    attack_phrase,
    dataset_words,
    defense_words,
    model_words,
    protocol_words,
)
from tests.attacks.attacks import ATTACKS
from tests.bench.report.words.suite_labels import suite_cases, suite_labels

READ: dict[str, Callable[[str], str]] = {
    "attack": lambda label: str(attack_phrase(label)),
    "defense": defense_words,
    "dataset": dataset_words,
    "model": model_words,
    "protocol": protocol_words,
}
PUBLISHED = Path(__file__).parents[4] / "reports" / "data"
# A label's way to spell settings: an underscore, or a letter with a number.
FRAGMENT = re.compile(r"_|\b(?!k-NN)[a-z]\d")
# Words that are the label itself.
SAME = {"lasso"}


def published_labels(part: str) -> set[str]:
    found: set[str] = set()
    for path in sorted(PUBLISHED.glob("*.jsonl")):
        found.update(re.findall(rf'"{part}":"([^"]+)"', path.read_text(encoding="utf-8")))
    return found


@pytest.mark.parametrize("part", READ)
def test_every_label_of_the_suites_and_of_the_published_records_has_words(part: str) -> None:
    labels = {*suite_labels(part), *published_labels(part)}
    assert len(labels) > 3
    unread = {label for label in labels if READ[part](label) == label or FRAGMENT.search(READ[part](label))}
    assert unread <= SAME


def test_every_attack_of_the_library_has_words() -> None:
    unread = [attack.label for attack in ATTACKS if FRAGMENT.search(str(attack_phrase(attack.label)))]
    assert not unread


def test_every_model_of_the_library_has_words() -> None:
    names = {*models.names(), *learners.names()} - SAME
    assert {name for name in names if model_words(name) == name} == set()


def test_words_tell_apart_what_labels_tell_apart_within_a_picture() -> None:
    groups: defaultdict[tuple[str, ...], dict[str, set[str]]] = defaultdict(lambda: {"attack": set(), "defense": set()})
    for case in suite_cases():
        key = (case.scale.value, *(str(case.labels[part]) for part in ("dataset", "model", "protocol")))
        for part in ("attack", "defense"):
            groups[key][part].add(str(case.labels[part]))
    for group in groups.values():
        for part, labels in group.items():
            assert len({READ[part](label) for label in labels}) == len(labels)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("label_flip_koh90_20", "random label flips, inside the filters at 90 %, 20 %"),
        ("dpv_eps1_label_aversion_20", "attack on private learners, ε = 1, against the labels, 20 %"),
        (
            "bullseye_polytope_mlp1-mlp_steps200_5",
            "Bullseye Polytope, crafted on a one-layer MLP and a two-layer MLP, 200 steps, 5 rows",
        ),
        ("poison_frogs_1", "Poison Frogs, 1 candidate"),
        ("worst_of_11_40", "worst attack, of 11, 40 %"),
        ("collision_a0.5_40", "collision_a0.5_40"),
        ("label_flip_oops_", "label_flip_oops_"),
        ("", ""),
    ],
)
def test_attacks_are_read_part_by_part_and_others_stand_for_themselves(label: str, words: str) -> None:
    assert str(attack_phrase(label)) == words


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("vanilla", "no defence"),
        ("dp_adam_c4-layer", "clip to 4 per layer"),
        ("dp_adam_q0.5-c0.1", "clip at the 0.5 quantile from 0.1"),
        ("dp_adam_c4_s1e-07", "clip to 4, noise 10⁻⁷"),
        ("dp_sgd_c1_s1", "SGD, clip to 1, noise 1"),
        ("roni_quiz20", "RONI, quiz 20"),
        ("dp_adam_mine", "dp_adam_mine"),
        ("dp_adam", "dp_adam"),
    ],
)
def test_defences_are_read_part_by_part_and_others_stand_for_themselves(label: str, words: str) -> None:
    assert defense_words(label) == words


def test_a_worst_case_names_the_experiment_of_each_attack() -> None:
    assert protocol_words("worst_case") == "worst attack: trained from scratch"
    assert protocol_words("worst_case_backdoor_last") == "worst attack: back door, trained from scratch, last epoch"
