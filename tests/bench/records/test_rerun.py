import shlex

import pytest

from gradshape_bench.records.rerun import OPTIONS, has_consecutive_seeds, pytest_arguments, pytest_command
from tests.bench.sample import make

PLAIN = ["--case", "digits-lr-label_flip_10-dp_adam_c4", "--scale", "smoke"]


def test_case_scale_and_number_of_seeds_are_always_there() -> None:
    assert pytest_arguments(make(seeds=(0, 1, 2))) == [*PLAIN, "--seeds", "3"]


def test_what_is_as_by_default_is_left_out_and_the_rest_is_not() -> None:
    record = make(seeds=(7, 8), confidence=0.99, environment={"tf32": True})
    assert pytest_arguments(record, test="suites/test_a.py") == [
        "suites/test_a.py",
        *PLAIN,
        *("--seeds", "2", "--first-seed", "7", "--confidence", "0.99", "--tf32"),
    ]


def test_long_names_stand_in_for_those_that_another_plugin_has() -> None:
    arguments = pytest_arguments(make(seeds=(7,), confidence=0.9, environment={"tf32": True}), taken=OPTIONS)
    options = [argument for argument in arguments if argument.startswith("--")]
    assert options == [f"--gradshape-{name}" for name in OPTIONS]


@pytest.mark.parametrize("case", ["a[0]-b", "a.b-c", "it's", "a b", "$HOME", "-x", "ünï", "a::b/c"])
def test_a_shell_gives_pytest_the_id_as_it_is(case: str) -> None:
    words = shlex.split(pytest_command(make(case=case)))
    assert words == ["pytest", *pytest_arguments(make(case=case))]
    assert f"--case={case}" in words or words[words.index("--case") + 1] == case


def test_an_id_like_an_option_is_not_taken_for_one() -> None:
    assert pytest_arguments(make(case="-x"))[0] == "--case=-x"


@pytest.mark.parametrize(("seeds", "consecutive"), [((), True), ((3,), True), ((3, 4, 5), True), ((0, 2), False)])
def test_seeds_that_do_not_count_on_are_told(seeds: tuple[int, ...], consecutive: bool) -> None:
    assert has_consecutive_seeds(make(seeds=seeds)) is consecutive
