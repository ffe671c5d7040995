from pathlib import Path

import pytest

from gradshape_bench.records.store import ResultsFile
from tests.bench.sample import odd


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultsFile(tmp_path / "results.jsonl")
    for record in odd():
        store.append(record)
    return store.path
