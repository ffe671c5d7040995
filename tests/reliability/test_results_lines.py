"""Whatever a line of a results file holds, it is a record or it is left out, kept and named."""

import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape_bench import __main__ as command
from gradshape_bench.records.record import Record
from gradshape_bench.records.store import ResultsFile
from gradshape_bench.report import leaderboard, ledger, page, tradeoff
from tests.bench.sample import aimed, make, odd

GOOD = [make(attack=f"label_flip_{number}") for number in (1, 2, 3)]
LINE = GOOD[0].to_json()

MALFORMED = {
    "100,000 brackets": b"[" * 100_000,
    "100,000 brackets that close": b"[" * 100_000 + b"]" * 100_000,
    "100,000 objects": b'{"a":' * 100_000,
    "a deep value": LINE.replace('"details": {', '"details": {"deep": ' + "[" * 300 + "]" * 300 + ", ").encode(),
    "1e400": LINE.replace('"seconds": 1.5', '"seconds": 1e400').encode(),
    "1e400 among the details": LINE.replace('"lr": 0.01', '"lr": -1e400').encode(),
    "NaN": LINE.replace('"seconds": 1.5', '"seconds": NaN').encode(),
    "a number of 5,000 digits": LINE.replace('"seconds": 1.5', f'"seconds": {"9" * 5000}').encode(),
    "a number of 400 digits": LINE.replace('"seconds": 1.5', f'"seconds": {"9" * 400}').encode(),
    "half a surrogate pair": LINE.replace('"reason": null', '"reason": "\\ud800"').encode(),
    "half a surrogate pair as a name": LINE.replace('"lr": 0.01', '"\\udfff": 0.01').encode(),
    "no UTF-8": LINE.replace("digits", "d\xe9").encode("latin-1"),
    "a value twice": LINE.replace('"seconds": 1.5', '"seconds": 1.5, "seconds": 2').encode(),
    "another schema": LINE.replace('"schema": 2', '"schema": 99').encode(),
    "an unknown status": LINE.replace('"ok"', '"splendid"').encode(),
    "a torn line": LINE[:100].encode(),
    "zeros": b"\0" * 4096,
    "nothing of a record": b"{}",
    "more than 16 MiB": b'"' + b"x" * (17 << 20) + b'"',
    "a truth value as a number": LINE.replace('"seconds": 1.5', '"seconds": true').encode(),
}


def _everything(records: Sequence[Record]) -> str:
    return "".join(leaderboard.render(records).values())


def _board(path: Path) -> str:
    assert command.main(["leaderboard", str(path)]) == 0
    return "".join(page.read_text(encoding="utf-8") for page in path.with_name("leaderboard").iterdir())


@pytest.mark.parametrize("line", MALFORMED.values(), ids=MALFORMED)
def test_no_line_prevents_a_board(line: bytes, tmp_path: Path) -> None:
    store = ResultsFile(tmp_path / "results.jsonl")
    store.append(GOOD[0])
    with store.path.open("ab") as file:
        file.write(line + b"\n")
    store.append(GOOD[1])
    contents = store.read()
    assert contents.records == GOOD[:2]
    assert [(left.path, left.number) for left in contents.left_out] == [(store.path, 2)]
    assert len(str(contents.left_out[0])) < 1000
    assert GOOD[1].attack in _board(store.path)
    store.compact()
    assert store.path.read_bytes().splitlines()[0] == line


def test_long_records_are_read(tmp_path: Path) -> None:
    store = ResultsFile(tmp_path / "results.jsonl")
    long = make(details={"remark": "x" * (8 << 20)})
    store.append(long)
    assert store.records() == [long]


def _damaged(draw: random.Random) -> bytes:
    """A record's line that something happened to."""
    line = bytearray(draw.choice(LINES).encode())
    for _ in range(draw.choice((1, 1, 1, 2, 8))):
        at = draw.randrange(len(line) + 1)
        match draw.randrange(6):
            case 0:
                line[at:at] = draw.choice(PIECES)
            case 1:
                del line[at : at + draw.choice((1, 1, 2, 30, 400))]
            case 2 if line:
                line[at % len(line)] ^= 1 << draw.randrange(8)
            case 3:
                end = draw.randrange(len(line) + 1)
                line[at:at] = line[min(at, end) : max(at, end)]
            case 4:
                del line[at:]
            case _:
                line[at : at + 1] = bytes([draw.randrange(256)])
    return bytes(line).replace(b"\n", b"")


PIECES = [
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b",",
    b":",
    b"-",
    b"0",
    b"1e400",
    b"NaN",
    b"null",
    b"true",
    b"\\ud8ff",
    b"\xff",
    b" ",
]
LINES = [record.to_json() for record in (*odd(), aimed())]


def test_thousands_of_damaged_lines_are_only_left_out_and_counted(tmp_path: Path) -> None:
    draw = random.Random(14)
    lines = [_damaged(draw) for _ in range(4000)]
    store = ResultsFile(tmp_path / "results.jsonl")
    store.path.write_bytes(b"".join(line + b"\n" for line in lines))
    for record in GOOD:
        store.append(record)
    contents = store.read()
    assert len(contents.left_out) > 2000
    assert {record.key for record in GOOD} <= {record.key for record in contents.records}
    foreign = [lines[left.number - 1] for left in contents.left_out]
    store.compact()
    assert store.path.read_bytes().split(b"\n")[: len(foreign)] == foreign
    assert store.read().records == contents.records
    _board(store.path)


VALUES: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=6,
)


def _fields(document: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = (
        document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    )
    return [path, *(found for name, value in inner for found in _fields(value, (*path, name)))]


@settings(max_examples=100)
@given(st.data())
def test_any_value_in_the_place_of_another_prevents_no_page(data: st.DataObject) -> None:
    document = json.loads(data.draw(st.sampled_from(LINES)))
    *path, last = data.draw(st.sampled_from(_fields(document)[1:]))
    place = document
    for name in path:
        place = place[name]
    place[last] = data.draw(VALUES)
    try:
        record = Record.from_json(json.dumps(document))
    except ValueError:
        return
    assert Record.from_json(record.to_json()) == record
    renders: list[Callable[..., str]] = [_everything, tradeoff.render, ledger.render]
    for render in renders:
        text, left_out = page.rendered(render, [*GOOD, record])
        assert [other for other, _ in left_out] in ([], [record])
        assert text.encode()


def test_record_that_cannot_be_shown_is_named_and_the_others_are_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = ResultsFile(tmp_path / "results.jsonl")
    bad = make(attack="label_flip_4", details={"train_rows": {"of": "another kind"}, "poison_rows": 3})
    for record in (*GOOD, bad):
        store.append(record)

    def render(records: Any) -> str:
        if bad in records:
            raise TypeError("rows")
        return _everything(records)

    assert page.write(render, store.records(), tmp_path / "page.md") == [
        f"page.md leaves out {bad.case}: TypeError: rows"
    ]
    shown = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert GOOD[0].attack in shown
    assert bad.attack not in shown


def test_records_that_only_fail_together_cost_no_more_than_one_of_them() -> None:
    records = [make(attack=f"label_flip_{number}") for number in range(9)]

    def render(shown: Any) -> str:
        if records[2] in shown and records[7] in shown:
            raise TypeError("cannot compare")
        return "".join(record.attack for record in shown)

    text, left_out = page.rendered(render, records)
    assert [record for record, _ in left_out] == [records[7]]
    assert text == "".join(record.attack for record in records if record is not records[7])
