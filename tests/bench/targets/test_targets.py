"""The lists of targets, and how targets are chosen from them or without one."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from gradshape.data import Dataset, Split, load
from gradshape_bench import targets
from gradshape_bench.__main__ import main
from gradshape_bench.targets import Chosen, Targets, TooFewTargets, candidates
from gradshape_bench.targets.listing import draw_targets
from gradshape_bench.targets.stored import StoredList, StoredTarget, row_digest, stored
from tests.training.samples import blobs

LISTS = sorted(Path(targets.__file__).parent.glob("*.json"))
EMBEDDED = [path for path in LISTS if path.name.startswith(("digits", "purchase_synthetic"))]
KEYS = {"dataset", "pair", "rows", "order", "targets"}
DIGITS = load("digits")
BLOBS = blobs(rows=60, test=60)

each_list = pytest.mark.parametrize("path", LISTS, ids=lambda path: path.stem)
each_embedded_list = pytest.mark.parametrize("path", EMBEDDED, ids=lambda path: path.stem)


def document(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def list_of(path: Path) -> StoredList:
    head = document(path)
    found = stored(head["dataset"], None if head["pair"] is None else (head["pair"][0], head["pair"][1]))
    assert found is not None
    return found


def test_there_are_lists() -> None:
    assert len(LISTS) >= 9
    assert len(EMBEDDED) >= 4


@each_list
def test_a_list_is_found_by_its_data_set_and_classes(path: Path) -> None:
    head = document(path)
    assert head.keys() == KEYS
    assert list_of(path).rows == head["rows"]
    assert len(list_of(path).targets) == len(head["targets"]) > 0


@each_list
def test_no_row_is_listed_twice(path: Path) -> None:
    entries = list_of(path).targets
    assert len({entry.row for entry in entries}) == len({entry.digest for entry in entries}) == len(entries)
    assert all(0 <= entry.row < list_of(path).rows for entry in entries)


@each_list
def test_wanted_is_another_class(path: Path) -> None:
    pair = document(path)["pair"]
    assert all(entry.intended != entry.label for entry in list_of(path).targets)
    assert pair is None or {(entry.label, entry.intended) for entry in list_of(path).targets} == {tuple(pair)}


@each_embedded_list
def test_a_list_names_the_rows_of_its_data_set(path: Path) -> None:
    test, found = load(document(path)["dataset"]).test, list_of(path)
    assert len(test) == found.rows
    for entry in found.targets:
        assert (row_digest(test.x[entry.row]), int(test.y[entry.row])) == (entry.digest, entry.label)


@pytest.mark.parametrize("pair", [None, (3, 8)])
def test_a_list_can_be_made_again(pair: tuple[int, int] | None) -> None:
    found = stored("digits", pair)
    assert found is not None
    again = draw_targets(DIGITS, pair)
    # The likeliest wrong class may hang on rounding; which rows there are does not.
    assert [entry[:3] for entry in again] == [[entry.row, entry.digest, entry.label] for entry in found.targets]


def test_making_a_list_writes_it_and_says_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["targets", "digits", "--pair", "3", "8", "--into", str(tmp_path)]) == 0
    [path] = tmp_path.iterdir()
    assert capsys.readouterr().out.strip() == str(path)
    assert document(path) == document(next(each for each in LISTS if each.name == path.name))


def test_no_list_is_no_error() -> None:
    assert stored("no_such_data", None) is None


def rows_of(chosen: Chosen) -> Iterator[tuple[Tensor, int, int]]:
    yield from zip(chosen.x, chosen.y.tolist(), chosen.intended.tolist(), strict=True)


def test_in_the_whole_split_rows_are_those_of_the_list_in_its_order() -> None:
    found, chosen = stored("digits", (3, 8)), candidates(DIGITS, Targets(4, (3, 8)))
    assert found is not None
    assert chosen.listed[: len(found.targets)].all()
    assert chosen.rows.tolist() == [entry.row for entry in found.targets]
    assert torch.equal(chosen.x, DIGITS.test.x[chosen.rows])
    assert {(label, intended) for _, label, intended in rows_of(chosen)} == {(3, 8)}


def test_in_a_part_of_the_split_the_same_rows_are_found_by_their_values() -> None:
    found, part = stored("digits", None), DIGITS.subset(test=90)
    assert found is not None
    chosen = candidates(part, Targets(10))
    assert chosen.listed.all()
    here = {row_digest(x) for x in part.test.x}
    expected = [entry for entry in found.targets if entry.digest in here]
    assert [(row_digest(x), *labels) for x, *labels in rows_of(chosen)] == [
        (entry.digest, entry.label, entry.intended) for entry in expected
    ]
    assert torch.equal(chosen.x, part.test.x[chosen.rows])


def test_in_another_order_of_the_split_the_same_rows_are_found() -> None:
    turned = replace(DIGITS, test=Split(DIGITS.test.x.flip(0), DIGITS.test.y.flip(0)))
    one, other = (candidates(data, Targets(10)) for data in (DIGITS, turned))
    assert torch.equal(one.x, other.x)
    assert torch.equal(one.intended, other.intended)


def test_without_a_list_rows_are_drawn_alike_every_time() -> None:
    one, other = (candidates(BLOBS, Targets(3, (0, 2))) for _ in range(2))
    assert not one.listed.any()
    assert torch.equal(one.rows, other.rows)
    assert (len(one), set(one.y.tolist()), set(one.intended.tolist())) == (20, {0}, {2})
    assert torch.equal(one.x, BLOBS.test.x[one.rows])


def test_without_a_pair_targets_are_of_any_class_and_another_one_is_wanted() -> None:
    chosen = candidates(BLOBS, Targets(20))
    assert set(chosen.y.tolist()) == {0, 1, 2}
    assert bool((chosen.y != chosen.intended).all())


def test_only_classes_with_test_rows_are_wanted() -> None:
    few = BLOBS.test.y != 2
    data = replace(BLOBS, test=Split(BLOBS.test.x[few], BLOBS.test.y[few]))
    assert set(candidates(data, Targets(20)).intended.tolist()) == {0, 1}


def test_few_rows_are_few_targets() -> None:
    assert len(candidates(BLOBS, Targets(1000, (0, 1)))) == 20


def test_a_seed_considers_four_times_as_many_rows_as_it_attacks_and_ten_more() -> None:
    pool = candidates(DIGITS, Targets(8))
    assert pool.for_seed(0, 8).rows.tolist() == pool.rows[:42].tolist()
    assert len(candidates(BLOBS, Targets(1000)).for_seed(0, 1000)) == 60


@pytest.mark.parametrize(("count", "seeds"), [(1, 12), (8, 6), (20, 3)])
def test_seeds_attack_rows_of_their_own_while_there_are_enough(count: int, seeds: int) -> None:
    pool = candidates(DIGITS, Targets(count))
    # As many as a base model that misclassifies a third of the rows takes.
    attacked = [
        row for seed in range(seeds) for row in pool.for_seed(seed, count).rows[: count + count // 2 + 8].tolist()
    ]
    assert len(set(attacked)) == len(attacked)


@pytest.mark.parametrize("seed", [0, 1, 7, 10**6, 2**62])
def test_a_seed_goes_round_from_its_place(seed: int) -> None:
    pool = candidates(BLOBS, Targets(20))
    rows = pool.for_seed(seed, 20).rows.tolist()
    start = pool.rows.tolist().index(rows[0])
    assert rows == [*pool.rows[start:].tolist(), *pool.rows[:start].tolist()]


def listing(entries: list[StoredTarget], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a list for the blobs."""
    monkeypatch.setattr(
        "gradshape_bench.targets.choice.stored", lambda dataset, pair: StoredList(len(BLOBS.test), entries)
    )


def entry(row: int, intended: int) -> StoredTarget:
    return StoredTarget(row, row_digest(BLOBS.test.x[row]), int(BLOBS.test.y[row]), intended)


def test_a_list_that_is_too_short_is_filled_up_by_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    listing([entry(7, 0), entry(2, 1)], monkeypatch)
    pool = candidates(BLOBS, Targets(3))
    assert pool.rows[:2].tolist() == [7, 2]
    assert pool.listed.tolist() == [True, True, *[False] * 58]
    assert sorted(pool.rows.tolist()) == list(range(60))


def test_a_listed_target_that_is_to_be_taken_for_a_class_without_test_rows_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing([entry(7, 2), entry(3, 1)], monkeypatch)
    kept = BLOBS.test.y != 2
    part = replace(BLOBS, test=Split(BLOBS.test.x[kept], BLOBS.test.y[kept]))
    pool = candidates(part, Targets(3))
    assert int(pool.listed.sum()) == 1
    assert set(pool.intended.tolist()) == {0, 1}


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        ((0, None), "count=0"),
        ((3, (1, 1)), r"pair=\(1, 1\): expected two different class ids"),
        ((3, (-1, 1)), r"pair=\(-1, 1\): expected two different class ids"),
        ((3, (1, 2, 3)), r"pair=\(1, 2, 3\): expected two different class ids"),
        ((3, (1.5, 2)), r"pair=\(1.5, 2\): expected two different class ids"),
        ((3, [0, 1]), r"pair=\[0, 1\]: expected two different class ids in a tuple"),
    ],
)
def test_bad_settings_are_refused(values: Any, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        Targets(*values)


def test_a_class_that_the_data_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"pair=\(0, 3\): blobs has the classes 0 to 2"):
        candidates(BLOBS, Targets(3, (0, 3)))


@pytest.mark.parametrize(("kept", "pair"), [((1,), None), ((1, 2), (1, 0))])
def test_without_test_rows_of_another_class_there_is_nothing_to_be_taken_for(
    kept: tuple[int, ...], pair: tuple[int, int] | None
) -> None:
    of_classes = torch.isin(BLOBS.test.y, torch.tensor(kept))
    data = replace(BLOBS, test=Split(BLOBS.test.x[of_classes], BLOBS.test.y[of_classes]))
    with pytest.raises(TooFewTargets, match=r"blobs: its test rows are of the classes \[.*\]: expected some of class "):
        candidates(data, Targets(3, pair))


def test_a_class_without_test_rows_has_no_targets() -> None:
    others = BLOBS.test.y != 1
    data = replace(BLOBS, test=Split(BLOBS.test.x[others], BLOBS.test.y[others]))
    with pytest.raises(TooFewTargets, match="blobs: no test row is of class 1"):
        candidates(data, Targets(3, (1, 0)))


def test_a_regression_has_no_targets() -> None:
    data: Dataset = load("diabetes")
    with pytest.raises(ValueError, match="diabetes: a regression task has no classes"):
        candidates(data, Targets(3))


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["digits", "--pair", "3", "3"], "two different class ids"),
        (["digits", "--pair", "3", "99"], "classes 0 to 9"),
        (["diabetes"], "a regression task"),
        (["no_such_data"], "no_such_data"),
    ],
)
def test_a_list_that_cannot_be_made_is_a_usage_error(
    arguments: list[str], problem: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["targets", *arguments, "--into", str(tmp_path)])
    assert problem in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_list_for_data_of_ones_own_lies_in_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    x, y = np.random.default_rng(0).random((60, 4), dtype=np.float32), np.arange(60) % 3
    np.savez(tmp_path / "mine.npz", x_train=x, y_train=y, x_test=x, y_test=y)
    folder = tmp_path / "lists"
    folder.mkdir()
    assert main(["targets", str(tmp_path / "mine.npz"), "--pair", "0", "1", "--into", str(folder)]) == 0
    assert len(list(folder.iterdir())) == 1
