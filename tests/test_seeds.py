import itertools

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradshape import _seeds

labels = st.lists(st.text(st.characters(categories=["L"]), max_size=5) | st.integers(0, 99), max_size=3)


def test_seeds_are_the_same_on_every_machine_and_day() -> None:
    assert _seeds.derive(0, "initial") == 1132393000979672639
    assert _seeds.derive(7, "order", 3) == 2396369170524145093


@given(seed=st.integers(), names=labels)
def test_a_seed_has_63_bits_and_no_memory(seed: int, names: list[str | int]) -> None:
    derived = _seeds.derive(seed, *names)
    assert 0 <= derived < 1 << 63
    assert derived == _seeds.derive(seed, *names)


def test_seeds_and_labels_give_different_streams() -> None:
    names: list[tuple[str | int, ...]] = [(), ("noise",), ("order",), ("order", 0), ("order", 1), ("order", 0, 1)]
    derived = {_seeds.derive(seed, *labels) for seed, labels in itertools.product(range(50), names)}
    assert len(derived) == 50 * len(names)


def test_a_stream_repeats_and_is_its_own() -> None:
    one, again, other = (torch.rand(1000, generator=_seeds.stream(s, "noise")) for s in (1, 1, 2))
    assert torch.equal(one, again)
    assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.15


@pytest.mark.parametrize("seed", [0, 3])
def test_a_stream_leaves_the_process_random_state_alone(seed: int) -> None:
    before = torch.get_rng_state()
    torch.rand(5, generator=_seeds.stream(seed, "noise"))
    assert torch.equal(torch.get_rng_state(), before)
