"""Records that somebody has edited: whatever they hold, a comparison ends in a verdict, and a baseline can be read."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradshape.metrics import share_over_seeds
from gradshape_bench.gate import baseline, sources
from gradshape_bench.gate.outcome import outcome
from gradshape_bench.gate.table import render
from gradshape_bench.records.record import Record, Status
from tests.bench.gate.sample import compared, record, snapshots

MORE = {"accuracy_clean": share_over_seeds([0.9, 0.8]), "backdoor_rate": share_over_seeds([0.2, 0.3], rows=10)}
TEXT = record(rates=[1.0, 0.0, 1.0], trials=[[1, 2], [2, 3], [3, 4]], more=MORE).to_json()
PARTS = ("metrics", "seeds", "details", "environment", "challenge", "dataset_fingerprint", "status")
ODD: list[Any] = [
    0,
    1,
    -1,
    0.5,
    1e-320,
    1e-300,
    1e99,
    1e300,
    -1e308,
    7,
    2**70,
    True,
    None,
    "x",
    [],
    {},
    [1],
    [0.5] * 3,
    100_000,
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


PLACES = [path for path in places(json.loads(TEXT)) if path[0] in PARTS]


def edited(edits: list[tuple[tuple[Any, ...], Any]]) -> Record | None:
    """The record with values put in some of its places; ``None`` if it is none any more."""
    document = json.loads(TEXT)
    for (*outer, last), value in edits:
        inner = document
        try:
            for key in outer:
                inner = inner[key]
            inner[last] = value
        except (KeyError, IndexError, TypeError):
            continue
    try:
        return Record.from_json(json.dumps(document))
    except ValueError:
        return None


EDITS = st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD)), min_size=1, max_size=3).map(edited)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(before=EDITS.filter(bool), after=EDITS.filter(bool))
def test_no_record_ends_a_comparison(before: Record, after: Record) -> None:
    found = compared([before], [after])
    assert render(found, outcome(found)).startswith("**")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(odd=EDITS.filter(bool))
def test_whatever_is_frozen_can_be_read(tmp_path_factory: pytest.TempPathFactory, odd: Record) -> None:
    path = tmp_path_factory.mktemp("odd") / "baseline.json"
    if odd.status is Status.OK and odd.challenge and odd.dataset_fingerprint is not None:
        cases, _ = sources.freezable(sources.Source(snapshots([odd])))
        baseline.write(path, cases)
        assert set(baseline.read(path)) == {odd.key}
