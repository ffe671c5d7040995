"""The baseline file: results that are frozen for later runs to be compared with, one line of JSON a case.

It is sorted and holds nothing that varies between two runs of the same code, so that a diff shows what changed.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any

from gradshape_bench.gate.snapshot import DIGITS, ENVIRONMENT, Key, Sample, Snapshot
from gradshape_bench.plain_text import plain
from gradshape_bench.records.store import write_atomically
from gradshape_bench.records.strict_json import decode

VERSION = 1
# Bytes of a file, at most: a case takes a few hundred.
_LARGEST = 1 << 28
_PROBLEM = 200


def write(path: Path, cases: Iterable[Snapshot]) -> None:
    """Write a baseline; the same cases give the same bytes.

    Args:
        path: the file; its folder is created.
        cases: measured ones, at most one of each id and scale.

    Raises:
        OSError: it cannot be written; the old content stays.
    """
    environments: dict[str, Mapping[str, Any]] = {}
    lines = []
    for case in sorted(cases, key=lambda case: case.key):
        name = _name(case.environment)
        environments[name] = {key: case.environment[key] for key in sorted(case.environment)}
        lines.append(_dump(_plain(case, name)))
    listed = ",\n".join(f"{_dump(name)}: {_dump(environments[name])}" for name in sorted(environments))
    head = f'{{"baseline": {VERSION},\n"environments": {{\n{listed}\n}},\n"cases": [\n'
    write_atomically(path, [head, ",\n".join(lines), "\n]}\n"])


def is_baseline(path: Path) -> bool:
    """Return whether a file begins as baselines do.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        head = file.read(200)
    return b"".join(head.split()).startswith(b'{"baseline"')


def read(path: Path) -> Mapping[Key, Snapshot]:
    """Read the baseline that :func:`write` wrote.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no baseline of this version; the message names file and fault. No other error comes of any
            file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise ValueError(f"more than {_LARGEST:,} bytes")
        return _read(decode(content.decode()))
    except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError, ValueError) as error:
        said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is no baseline: {plain(said, longest=_PROBLEM)}") from error


def _read(document: Mapping[str, Any]) -> Mapping[Key, Snapshot]:
    if document["baseline"] != VERSION or isinstance(document["baseline"], bool):
        raise ValueError(f"baseline {document['baseline']!r}: this version reads {VERSION}")
    environments = _checked("environments", document["environments"], dict)
    for name, environment in environments.items():
        _checked(f"environment {name}", environment, dict)
        for key, value in environment.items():
            _checked(f"environment {name}: {key}", value, str | bool | None)
    found: dict[Key, Snapshot] = {}
    for place, plain_case in enumerate(_checked("cases", document["cases"], list), start=1):
        try:
            case = _snapshot(plain_case, environments)
        except (KeyError, TypeError, ValueError) as error:
            said = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
            raise ValueError(f"case {place}: {said}") from error
        if case.key in found:
            raise ValueError(f"case {place}: {case.case!r} stands there twice at {case.scale} scale")
        found[case.key] = case
    return found


def _plain(case: Snapshot, environment: str) -> dict[str, Any]:
    metrics = {name: _plain_sample(case.samples[name]) for name in sorted(case.samples)}
    return {
        "scale": case.scale,
        "case": case.case,
        "challenge": case.challenge,
        "rows": case.rows,
        "environment": environment,
        "seeds": list(case.seeds),
        **({} if case.trials is None else {"trials": [list(trial) for trial in case.trials]}),
        "metrics": metrics,
    }


def _plain_sample(sample: Sample) -> dict[str, Any]:
    return {
        "value": sample.value,
        "n": sample.n,
        "values": list(sample.values),
        **({"of_trials": True} if sample.of_trials else {}),
        **({} if sample.step is None else {"step": sample.step}),
    }


def _snapshot(plain_case: Mapping[str, Any], environments: Mapping[str, Mapping[str, Any]]) -> Snapshot:
    _checked("case", plain_case, dict)
    texts = {name: _checked(name, plain_case[name], str) for name in ("scale", "case", "challenge", "rows")}
    environment = _checked("environment", plain_case["environment"], str)
    if environment not in environments:
        raise ValueError(f"environment {environment!r}: expected one of {', '.join(environments) or 'none'}")
    trials = plain_case.get("trials")
    return Snapshot(
        texts["scale"],
        texts["case"],
        challenge=texts["challenge"][:DIGITS],
        rows=texts["rows"][:DIGITS],
        seeds=tuple(_checked("seeds", seed, int) for seed in _checked("seeds", plain_case["seeds"], list)),
        samples={
            name: _sample(name, sample) for name, sample in _checked("metrics", plain_case["metrics"], dict).items()
        },
        trials=None
        if trials is None
        else _distinct(
            "trials",
            [
                tuple(_checked("trials", part, int) for part in _checked("trials", trial, list))
                for trial in _checked("trials", trials, list)
            ],
        ),
        environment={
            name: environments[environment].get(name) for name in ENVIRONMENT if name in environments[environment]
        },
    )


def _sample(name: str, sample: Any) -> Sample:
    _checked(name, sample, dict)
    number = int | float
    n, step = _checked(f"{name} n", sample["n"], int), _checked(f"{name} step", sample.get("step"), number | None)
    values = tuple(_checked(f"{name} values", one, number) for one in _checked(name, sample["values"], list))
    if n < 0 or (step is not None and step <= 0) or len(values) not in (0, n):
        raise ValueError(
            f"{name}: n={n}, step={step}, {len(values)} values: expected n values, or none, and a step > 0"
        )
    of_trials = sample.get("of_trials", False)
    if not isinstance(of_trials, bool):
        raise TypeError(f"{name} of_trials={of_trials!r}: expected bool")
    value = _checked(f"{name} value", sample["value"], number)
    if of_trials and not all(0 <= one <= 1 for one in (value, *values)):
        raise ValueError(f"{name}: value={value!r}, values={list(values)!r}: expected rates in [0, 1]")
    return Sample(value, n, values=values, of_trials=of_trials, step=step)


def _distinct(name: str, values: list[Any]) -> tuple[Any, ...]:
    if len(set(values)) < len(values):
        raise ValueError(f"{name}: {values!r}: expected no two alike")
    return tuple(values)


def _checked(name: str, value: Any, kind: type | UnionType) -> Any:
    bools = bool in getattr(kind, "__args__", ())
    if not isinstance(value, kind) or (isinstance(value, bool) and not bools):
        raise TypeError(f"{name}={value!r}: expected {getattr(kind, '__name__', kind)}")
    return value


def _name(environment: Mapping[str, Any]) -> str:
    """Return a short name for an environment, made of what it is."""
    return hashlib.sha256(json.dumps(environment, sort_keys=True).encode()).hexdigest()[:8]


def _dump(value: Any) -> str:
    return json.dumps(value, allow_nan=False)
