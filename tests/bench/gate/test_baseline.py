import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape.metrics import share_over_seeds
from gradshape_bench.gate import baseline
from gradshape_bench.gate.snapshot import Snapshot
from tests.bench.gate.sample import record, snapshots

CASES = list(
    snapshots(
        [
            record(attack="b", more={"backdoor_rate": share_over_seeds([0.1, 0.2], rows=50)}),
            record(attack="a", rates=[0.0, 1.0], trials=[[3, 8], [4, 8]]),
            record(attack="a", scale="paper", environment={"torch": "2.0", "tf32": True}),
        ]
    ).values()
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "baseline.json"


@pytest.fixture
def document(path: Path) -> dict[str, Any]:
    baseline.write(path, CASES)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_comes_back_as_it_was_written(path: Path) -> None:
    baseline.write(path, CASES)
    assert baseline.is_baseline(path)
    assert baseline.read(path) == {case.key: case for case in CASES}


def test_same_cases_in_any_order_give_the_same_bytes(path: Path) -> None:
    baseline.write(path, CASES)
    before = path.read_bytes()
    baseline.write(path, reversed(CASES))
    assert path.read_bytes() == before


def test_is_sorted_with_one_line_a_case(path: Path) -> None:
    baseline.write(path, CASES)
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith('{"scale"')]
    keys = [(case["scale"], case["case"]) for case in (json.loads(line.rstrip(",")) for line in lines)]
    assert keys == sorted(case.key for case in CASES)


def test_one_value_that_changes_is_one_line_of_a_diff(path: Path) -> None:
    baseline.write(path, CASES)
    before = path.read_text(encoding="utf-8").splitlines()
    changed = snapshots([record((0.2,) * 5, attack="a", rates=[0.0, 1.0], trials=[[3, 8], [4, 8]])])
    baseline.write(path, [*CASES[:1], *changed.values(), *CASES[2:]])
    after = path.read_text(encoding="utf-8").splitlines()
    assert sum(one != other for one, other in zip(before, after, strict=True)) == 1


def test_is_small(path: Path) -> None:
    baseline.write(path, snapshots(record(attack=f"case_{place}") for place in range(100)).values())
    assert path.stat().st_size < 100 * 400


def test_results_file_is_no_baseline(tmp_path: Path) -> None:
    results = tmp_path / "results.jsonl"
    results.write_text(record().to_json())
    assert not baseline.is_baseline(results)


def test_spaces_in_it_do_not_matter(path: Path, document: dict[str, Any]) -> None:
    path.write_text(json.dumps(document, indent=4, sort_keys=True), encoding="utf-8")
    assert baseline.is_baseline(path)
    assert baseline.read(path) == {case.key: case for case in CASES}


CHANGES: list[tuple[Any, str]] = [
    (lambda d: d.update(baseline=2), "baseline 2: this version reads 1"),
    (lambda d: d.update(baseline=True), "baseline True: this version reads 1"),
    (lambda d: d.pop("cases"), "it lacks 'cases'"),
    (lambda d: d.update(cases={}), r"cases=\{\}: expected list"),
    (lambda d: d.update(environments=[]), r"environments=\[\]: expected dict"),
    (lambda d: next(iter(d["environments"].values())).update(torch=2), "environment [0-9a-f]{8}: torch=2: expected"),
    (lambda d: d["cases"].append(d["cases"][0]), "case 4: .* stands there twice at paper scale"),
    (lambda d: d["cases"].append(7), "case 4: case=7: expected dict"),
    (lambda d: d["cases"][1].pop("challenge"), "case 2: it lacks 'challenge'"),
    (lambda d: d["cases"][1].update(challenge=None), "case 2: challenge=None: expected str"),
    (lambda d: d["cases"][1].update(environment="none"), "case 2: environment 'none': expected one of"),
    (lambda d: d["cases"][1].update(seeds=[True]), "case 2: seeds=True: expected int"),
    (lambda d: d["cases"][1].update(trials=[[1], [1]]), "case 2: trials: .* expected no two alike"),
    (lambda d: d["cases"][1].update(trials=[1]), "case 2: trials=1: expected list"),
    (lambda d: d["cases"][1]["metrics"]["rad"].update(values=[0.1]), "case 2: rad: n=5, step=.*, 1 values"),
    (lambda d: d["cases"][1]["metrics"]["rad"].update(values=["a"] * 5), "case 2: rad values='a'"),
    (lambda d: d["cases"][1]["metrics"]["rad"].update(step=0), "case 2: rad: n=5, step=0"),
    (lambda d: d["cases"][1]["metrics"]["rad"].update(of_trials=1), "case 2: rad of_trials=1: expected bool"),
    (lambda d: d["cases"][1]["metrics"]["success_rate"].update(value=2), "case 2: success_rate: value=2"),
    (lambda d: d["cases"][1].update(metrics=[]), r"case 2: metrics=\[\]: expected dict"),
]


@pytest.mark.parametrize(("change", "said"), CHANGES, ids=[said for _, said in CHANGES])
def test_fault_is_named_with_its_place(path: Path, document: dict[str, Any], change: Any, said: str) -> None:
    change(document)
    path.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match=f"is no baseline: {said}") as caught:
        baseline.read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{",
        b"[]",
        b"7",
        b"null",
        b"\xff",
        b'{"baseline": NaN}',
        b'{"baseline": 1, "baseline": 1}',
        b'{"baseline": 1e999}',
        b'{"baseline": ' + b"[" * 100_000,
        b'{"baseline": 1, "environments": {}, "cases": [' + b"9" * 5_000 + b"]}",
    ],
    ids=lambda text: text[:24].decode(errors="replace"),
)
def test_what_is_no_baseline_is_one_kind_of_error(path: Path, text: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(text)
    with pytest.raises(ValueError, match="is no baseline"):
        baseline.read(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_no_other_error_comes_of_any_value_in_any_place(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("any") / "baseline.json"
    baseline.write(path, CASES)
    document = json.loads(path.read_text(encoding="utf-8"))
    inner: Any = document
    parent: Any = None
    key: Any = None
    while isinstance(inner, dict | list) and inner and data.draw(st.integers(0, 4)):
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        parent, inner = inner, inner[key]
    if parent is None:
        return
    parent[key] = data.draw(JSON)
    path.write_text(json.dumps(document), encoding="utf-8")
    try:
        found = baseline.read(path)
    except ValueError as error:
        assert str(path) in str(error)  # noqa: PT017
    else:
        assert all(isinstance(case, Snapshot) for case in found.values())
