"""What holds for every test and every doctest of the project."""

from collections.abc import Iterator
from typing import Any

import pytest

from gradshape import models
from gradshape.data import own_sets
from gradshape.learners import registry


@pytest.fixture(autouse=True)
def _what_a_test_registers_ends_with_it() -> Iterator[None]:
    registries: list[dict[str, Any]] = [models._BUILDERS, registry._LEARNERS, own_sets._given]
    before = [dict(each) for each in registries]
    yield
    for each, entries in zip(registries, before, strict=True):
        if each != entries:
            each.clear()
            each.update(entries)
