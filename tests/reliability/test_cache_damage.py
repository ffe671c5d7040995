"""A damaged entry is never believed, and never makes any other error than that it is damaged."""

import hashlib
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from gradshape_bench.cache import Cache, Fault, entry
from gradshape_bench.cache.entry import HEAD, Damaged
from gradshape_bench.jobs import Finished
from tests.reliability.cache_sample import KEY, MASK, OTHER_KEY, POISON, SAMPLES, kept, same

# Damages of a kind, over all kinds of entries.
RANDOM = 10_000


def packed(kind: str, key: str = KEY) -> bytes:
    return bytes(entry.pack(key, Finished(SAMPLES[kind], 1.5)))


def believed(content: bytes | bytearray, key: str = KEY) -> bool:
    try:
        entry.unpack(key, bytes(content[:HEAD]), bytes(content[HEAD:]))
    except Damaged:
        return False
    return True


@pytest.mark.parametrize("kind", SAMPLES)
def test_no_entry_with_a_flipped_bit_is_believed(kind: str) -> None:
    content = bytearray(packed(kind))
    wrong = []
    for place in range(len(content)):
        for bit in range(8):
            content[place] ^= 1 << bit
            if believed(content):
                wrong.append((place, bit))
            content[place] ^= 1 << bit
    assert wrong == []
    assert believed(content)


@pytest.mark.parametrize("kind", SAMPLES)
def test_no_entry_is_believed_that_is_cut_off(kind: str) -> None:
    content = packed(kind)
    assert [length for length in range(len(content)) if believed(content[:length])] == []


def _cut(content: bytes, other: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content))]


def _extend(content: bytes, other: bytes, draw: random.Random) -> bytes:
    return content + draw.randbytes(draw.randint(1, 100))


def _splice(content: bytes, other: bytes, draw: random.Random) -> bytes:
    place = draw.randrange(len(content))
    return content[:place] + other[place:]


def _zeros(content: bytes, other: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    length = draw.randint(1, len(content) - start)
    return content[:start] + bytes(length) + content[start + length :]


def _swap(content: bytes, other: bytes, draw: random.Random) -> bytes:
    size = draw.choice([1, 4, 16, 64])
    one, two = (size * draw.randrange(len(content) // size) for _ in range(2))
    swapped = bytearray(content)
    swapped[one : one + size], swapped[two : two + size] = content[two : two + size], content[one : one + size]
    return bytes(swapped)


def _lose(content: bytes, other: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randint(1, 100) :]


def _repeat(content: bytes, other: bytes, draw: random.Random) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[max(0, start - draw.randint(1, 100)) :]


def _scatter(content: bytes, other: bytes, draw: random.Random) -> bytes:
    scattered = bytearray(content)
    for _ in range(draw.randint(1, 20)):
        scattered[draw.randrange(len(content))] = draw.randrange(256)
    return bytes(scattered)


def _exchange(content: bytes, other: bytes, draw: random.Random) -> bytes:
    return other


DAMAGES: list[Callable[[bytes, bytes, random.Random], bytes]] = [
    *(_cut, _extend, _splice, _zeros, _swap, _lose, _repeat, _scatter, _exchange),
]


def _damaged(count: int, draw: random.Random) -> Iterator[tuple[str, bytes]]:
    """Entries and what damages make of them, one after another; what leaves an entry as it is, is left out."""
    whole = {kind: packed(kind) for kind in SAMPLES}
    others = [packed(kind, key) for kind in SAMPLES for key in (KEY, OTHER_KEY)]
    made = 0
    while made < count:
        kind, damage = draw.choice(list(SAMPLES)), draw.choice(DAMAGES)
        content = damage(whole[kind], draw.choice(others), draw)
        if content not in whole.values():
            made += 1
            yield damage.__name__, content


def test_no_damaged_entry_is_believed() -> None:
    # The same seed on every machine: what fails once can be looked at.
    wrong = Counter(name for name, content in _damaged(RANDOM, random.Random(14)) if believed(content))
    assert wrong == Counter()


def test_no_damaged_file_is_believed(tmp_path: Path) -> None:
    path = kept(tmp_path, MASK)
    for name, content in _damaged(200, random.Random(41)):
        path.write_bytes(content)
        cache = Cache(tmp_path)
        assert cache.get(KEY) is None, name
        assert cache.faults.count(Fault.DAMAGED) == 1


@pytest.mark.parametrize("more", [1, 2**40])
def test_a_file_of_another_length_is_not_even_read(more: int, tmp_path: Path) -> None:
    path = kept(tmp_path, MASK)
    # Most of it takes no place on the disk; it would not fit into memory.
    os.truncate(path, path.stat().st_size + more)
    cache = Cache(tmp_path)
    assert cache.get(KEY) is None
    assert cache.faults.count(Fault.DAMAGED) == 1


def test_files_that_have_changed_places_are_not_believed(tmp_path: Path) -> None:
    one, other = kept(tmp_path, MASK), kept(tmp_path, ~MASK, OTHER_KEY)
    one.rename(tmp_path / "kept")
    other.rename(one)
    (tmp_path / "kept").rename(other)
    cache = Cache(tmp_path)
    assert [cache.get(key) for key in (KEY, OTHER_KEY)] == [None, None]
    assert f"it belongs to the job '{OTHER_KEY}'" in (cache.faults.line() or "")


def test_a_damaged_entry_is_replaced(tmp_path: Path) -> None:
    path = kept(tmp_path, POISON)
    path.write_bytes(b"")
    cache = Cache(tmp_path)
    assert cache.get(KEY) is None
    cache.put(KEY, Finished(POISON, 1.5))
    found = cache.get(KEY)
    assert found is not None
    assert same(found.result, POISON)
    assert cache.faults.count(Fault.DAMAGED) == 1


def framed(body: bytes) -> bytes:
    """A body with the head that it would have."""
    return packed("mask")[: HEAD - 40] + len(body).to_bytes(8, "little") + hashlib.sha256(body).digest() + body


def rewritten(kind: str, change: Callable[[dict[str, Any]], object]) -> bytes:
    """An entry with the right digest and a document that no version of the code has written."""
    body = packed(kind)[HEAD:]
    end = 8 + int.from_bytes(body[:8], "little")
    document = json.loads(body[8:end])
    change(document)
    text = json.dumps(document).encode()
    return framed(len(text).to_bytes(8, "little") + text + body[end:])


def test_an_entry_that_is_only_written_anew_is_believed() -> None:
    assert all(believed(rewritten(kind, lambda document: None)) for kind in SAMPLES)


NO_NUMBER: Sequence[object] = (None, True, "1", [1], {}, float("nan"), float("inf"), -1)


@pytest.mark.parametrize("seconds", NO_NUMBER)
def test_seconds_are_a_finite_number(seconds: object) -> None:
    assert not believed(rewritten("mask", lambda document: document.update(seconds=seconds)))


@pytest.mark.parametrize("name", ["key", "seconds", "byteorder", "result", "tensors"])
@pytest.mark.parametrize("value", [*NO_NUMBER, 2**70, [[["x"]]], "text", [["mask", "float32", [2**50, 2**50]]]])
def test_a_document_with_another_value_is_not_believed(name: str, value: object) -> None:
    if name == "seconds" and value == 2**70:
        return
    assert not believed(rewritten("training", lambda document: document.update({name: value})))


FIELDS = ("kind", "diverged", "mse", "gradients", "last", "best", "last_optimizer", "best_optimizer")
NO_FIELD: Sequence[object] = (
    "text",
    -1.5,
    [],
    [1],
    ["all"],
    ["all", [1]],
    ["some", []],
    [1, 5],
    [1, [5]],
    [-1, [0]],
    {"kind": "mask"},
)


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", NO_FIELD)
def test_a_result_with_another_value_is_not_believed(name: str, value: object) -> None:
    if (name, value) == ("mse", -1.5):
        return
    assert not believed(rewritten("training", lambda document: document["result"].update({name: value})))


def _without_tensor(number: int) -> Callable[[dict[str, Any]], object]:
    return lambda document: document["tensors"].pop(number)


@pytest.mark.parametrize("kind", SAMPLES)
def test_a_result_that_lacks_a_tensor_is_not_believed(kind: str) -> None:
    assert not believed(rewritten(kind, _without_tensor(0)))
    assert not believed(rewritten(kind, _without_tensor(-1)))


@pytest.mark.parametrize(
    "tensor",
    [
        ["more", "float32", [0]],
        ["mask", "float32", [2**60]],
        ["mask", "float32", [-1]],
        ["mask", "float32", ["3"]],
        ["mask", "object", [3]],
        ["mask", "float32"],
        "mask",
    ],
)
def test_a_tensor_that_no_result_has_is_not_believed(tensor: object) -> None:
    assert not believed(rewritten("mask", lambda document: document["tensors"].append(tensor)))


def test_a_document_that_is_nested_deeply_is_not_believed() -> None:
    text = b"[" * 100_000
    assert not believed(framed(len(text).to_bytes(8, "little") + text))


def test_an_entry_of_another_layout_is_not_believed() -> None:
    content = packed("mask")
    assert not believed(content.replace(b"job 1", b"job 2", 1))


def test_a_result_of_an_unknown_kind_is_named() -> None:
    content = rewritten("mask", lambda document: document["result"].update(kind="song"))
    with pytest.raises(Damaged, match="unknown kind of entry 'song'"):
        entry.unpack(KEY, content[:HEAD], content[HEAD:])
