"""Engines for the tests of what they promise."""

from collections.abc import Iterator
from typing import Any

import pytest

from gradshape_bench.engines import Engine, ProcessEngine
from tests.bench.engines.sample import KINDS, Make


@pytest.fixture(scope="module", params=KINDS)
def shared(request: pytest.FixtureRequest, forked_workers: None) -> Iterator[Engine]:
    """An engine that is none the worse for use."""
    engine = KINDS[request.param]()
    yield engine
    engine.close()


@pytest.fixture(params=KINDS)
def make(request: pytest.FixtureRequest, forked_workers: None) -> Iterator[Make]:
    made: list[Engine] = []

    def of_kind(**named: Any) -> Engine:
        made.append(KINDS[request.param](**named))
        return made[-1]

    yield of_kind
    for engine in made:
        engine.close()


@pytest.fixture(scope="module")
def process(forked_workers: None) -> Iterator[ProcessEngine]:
    """An engine of one worker process, which may be killed: the next one takes its place."""
    engine = ProcessEngine(workers=1, max_memory=1 << 28)
    yield engine
    engine.close()
