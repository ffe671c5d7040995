import time

import pytest

from gradshape_bench.case_names import near_cases, unknown_case

IDS = [
    f"{data}-{model}-{attack}_{share}-{defense}"
    for data in ("digits", "cifar10", "purchase_synthetic", "fashion_mnist_34")
    for model in ("lr", "mlp")
    for attack in ("label_flip", "svm_ascent")
    for share in (1, 10, 20, 40)
    for defense in ("vanilla", "dp_adam_c4", "dp_adam_c1")
]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("digits-lr-label_flop_10-vanilla", "digits-lr-label_flip_10-vanilla"),
        ("digit-lr-label_flip_10-vanilla", "digits-lr-label_flip_10-vanilla"),
        ("cifar10-mlp-svm_ascent_40-dp_adam_c44", "cifar10-mlp-svm_ascent_40-dp_adam_c4"),
        ("fashion_mnist_34-lr-label_flip_1-dp_adam", "fashion_mnist_34-lr-label_flip_1-dp_adam_c4"),
    ],
)
def test_the_nearest_case_is_among_the_suggested(name: str, meant: str) -> None:
    assert meant in near_cases(name, IDS)


def test_a_part_of_ids_suggests_those_that_hold_it() -> None:
    assert all("mlp-svm_ascent_20" in id for id in near_cases("mlp-svm_ascent_20", IDS))


def test_nothing_like_it_is_said_with_the_number_of_cases() -> None:
    error = unknown_case("!!!", IDS, where="in results.jsonl")
    assert str(error) == "no case '!!!' in results.jsonl: there are 192 cases, none like it"


def test_ten_thousand_cases_are_looked_through_in_a_moment() -> None:
    ids = [f"{id}_{number}" for id in IDS for number in range(53)]
    began = time.process_time()
    assert near_cases("digits-lr-label_flop_10-vanilla_7", ids)[0] == "digits-lr-label_flip_10-vanilla_7"
    assert time.process_time() - began < 1.0
