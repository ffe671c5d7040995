"""What tests of faults share."""

from collections.abc import Iterator

import pytest

from tests.reliability.sessions import Server, serving


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running
