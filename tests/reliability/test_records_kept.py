"""What a test does with the record of its case changes neither that record nor the record of a later test."""

import copy
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gradshape.metrics import Estimate
from gradshape_bench.records.record import Record
from gradshape_bench.session import BenchSession, CaseOutcome, SessionPart
from gradshape_bench.verdict import Threshold
from tests.bench.sample import settings_in
from tests.bench.schedule_sample import case

CASE = replace(case(seeds=(0,)), thresholds=(Threshold("rad", "<", 0.99),))
WRONG = Estimate(-5.0, None, None, n=1)
PARTS = ("metrics", "details", "costs", "environment")

ON_MAPPINGS: dict[str, Callable[[dict[str, Any], str], object]] = {
    "set": lambda held, name: held.__setitem__(name, WRONG),
    "add": lambda held, name: held.__setitem__("new", WRONG),
    "delete": lambda held, name: held.__delitem__(name),
    "pop": lambda held, name: held.pop(name),
    "popitem": lambda held, name: held.popitem(),
    "clear": lambda held, name: held.clear(),
    "update": lambda held, name: held.update({name: WRONG}),
    "setdefault": lambda held, name: held.setdefault("new", WRONG),
    "or": lambda held, name: held.__ior__({name: WRONG}),
}
ON_LISTS: dict[str, Callable[[list[Any]], object]] = {
    "set": lambda held: held.__setitem__(0, -5),
    "slice": lambda held: held.__setitem__(slice(None), [-5]),
    "delete": lambda held: held.__delitem__(0),
    "append": lambda held: held.append(-5),
    "extend": lambda held: held.extend([-5]),
    "insert": lambda held: held.insert(0, -5),
    "pop": lambda held: held.pop(),
    "remove": lambda held: held.remove(-5),
    "clear": lambda held: held.clear(),
    "sort": lambda held: held.sort(),
    "reverse": lambda held: held.reverse(),
    "add": lambda held: held.__iadd__([-5]),
    "multiply": lambda held: held.__imul__(2),
}


def held_in(value: Any) -> Iterator[Any]:
    """Yield a value and all mappings and lists in it."""
    yield value
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for item in inner:
        yield from held_in(item)


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BenchSession]:
    folder = tmp_path_factory.mktemp("kept")
    running = BenchSession([CASE], settings_in(folder), SessionPart(folder), Path.cwd(), None)
    yield running
    running.close()


@pytest.fixture
def outcome(session: BenchSession) -> CaseOutcome:
    return CaseOutcome(CASE, lambda: session.run(CASE), strict=False)


@pytest.mark.parametrize("part", PARTS)
def test_a_test_cannot_change_the_record_of_its_case(outcome: CaseOutcome, part: str) -> None:
    line = outcome.record.to_json()
    found = list(held_in(getattr(outcome.record, part)))
    mappings = [held for held in found if isinstance(held, dict)]
    lists = [held for held in found if isinstance(held, list)]
    assert mappings
    assert lists or part != "details"
    for mapping in mappings:
        for change in ON_MAPPINGS.values():
            with pytest.raises(TypeError, match=r"^a record cannot be changed"):
                change(mapping, next(iter(mapping), "new"))
    for each in lists:
        for alter in ON_LISTS.values():
            with pytest.raises(TypeError, match=r"^a record cannot be changed"):
                alter(each)
    assert outcome.record.to_json() == line
    outcome.check()


def test_copies_can_be_changed(outcome: CaseOutcome) -> None:
    metrics = dict(outcome.record.metrics)
    metrics["rad"] = WRONG
    details = copy.deepcopy(outcome.record.details)
    assert details == outcome.record.details
    for held in list(held_in(details)):
        held.clear() if isinstance(held, dict | list) else None
    assert replace(outcome.record, metrics=metrics).metrics["rad"] == WRONG
    assert outcome.record.metrics["rad"] != WRONG


def test_a_record_that_was_handed_out_shares_nothing_with_the_next(session: BenchSession) -> None:
    first = session.run(CASE)
    line = first.to_json()
    for held in [held for part in PARTS for held in held_in(getattr(first, part))]:
        with suppress(AttributeError):
            held.clear()
    assert session.run(CASE).to_json() == line
    assert Record.from_json(line) == session.run(CASE)
