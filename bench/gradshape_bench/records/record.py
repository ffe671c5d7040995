"""The record of a case, written to the results file as one line of JSON."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, asdict, dataclass, field, replace
from enum import Enum
from typing import Any

from gradshape.metrics import Estimate, Method
from gradshape_bench.verdict import Judgement, Threshold, Verdict

SCHEMA = 2
# Records of schema 1 say nothing of single seeds.
_READABLE = (1, SCHEMA)
# The reason begins with this if the data of the case could not be had.
MISSING_DATA = "data:"
# Lists and objects within each other, at most: pages and comparisons go through a record's values by recursion.
_DEEPEST = 200
# No number in a record needs more digits; an integer of more would not fit a float.
_DIGITS = 300


class Status(Enum):
    """Whether a case could be measured. A bad score is not a status."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    CRASHED = "crashed"
    DIVERGED = "diverged"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Record:
    """What one case measured.

    Attributes:
        case: id of the case.
        fingerprint: sha256 of the case's definition.
        dataset, model, protocol, attack, defense: labels, as in the id.
        dataset_fingerprint: sha256 of the rows; ``None`` if they were never loaded.
        scale: ``smoke`` or ``paper``.
        seeds: seeds of the repetitions.
        status: whether the case could be measured.
        metrics: by name, see :data:`gradshape_bench.report.metric_definitions.METRICS`; ``_best`` and ``_last`` say
            which epoch's test accuracy was taken, no suffix means the protocol's choice.
        judgements: one for each threshold; empty unless ``status`` is ok.
        expected_failure: why the case is expected to miss a threshold, with the source; ``None`` if it is not.
        reason: why there are no metrics; ``None`` if there are.
        details: how victims were trained and how much poison there was, as plain values.
        seconds: computing time of the jobs; for each job its share of the stack that it ran in.
        environment: versions, device and source.
        costs: mean seconds of a job, by what it did: crafting, filtering or training.
        confidence: of the intervals, in (0, 1).
        looks: the numbers of seeds at which the verdicts were looked at; empty unless there were to be several.
        planned_looks: at how many numbers of seeds they might have been looked at: a judgement's interval has the
            confidence ``1 - (1 - confidence) / planned_looks``.
        jobs, cached_jobs: how many jobs the case is made of, and how many of them were found in the cache.
        challenge: sha256 of what the recipe was put up against (rows, attack, protocol, scale): records with different
            ones are not compared. ``None`` in records of schema 1.
        test: file of the test that measured it, relative to the project's root, with ``/`` between folders; ``None`` if
            that is not recorded.
    """

    case: str
    fingerprint: str
    dataset: str
    _: KW_ONLY
    dataset_fingerprint: str | None
    model: str
    protocol: str
    attack: str
    defense: str
    scale: str
    seeds: tuple[int, ...]
    status: Status
    metrics: Mapping[str, Estimate] = field(default_factory=dict)
    judgements: tuple[Judgement, ...] = ()
    expected_failure: str | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    environment: Mapping[str, Any] = field(default_factory=dict)
    costs: Mapping[str, float] = field(default_factory=dict)
    confidence: float = 0.95
    looks: tuple[int, ...] = ()
    planned_looks: int = 1
    jobs: int | None = None
    cached_jobs: int | None = None
    challenge: str | None = None
    test: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """What identifies the record in a results file, where a later record replaces an earlier one."""
        return self.scale, self.case

    @property
    def missed(self) -> tuple[Judgement, ...]:
        """The judgements of thresholds that are not met."""
        return tuple(judgement for judgement in self.judgements if not judgement.met)

    @property
    def verdict(self) -> Verdict | None:
        """The worst verdict; ``None`` if there is none."""
        verdicts = {judgement.verdict for judgement in self.judgements}
        return next((v for v in (Verdict.FAIL, Verdict.INCONCLUSIVE, Verdict.PASS) if v in verdicts), None)

    def to_json(self) -> str:
        """Return the record as one line of JSON."""
        document = {
            "schema": SCHEMA,
            "case": self.case,
            "fingerprint": self.fingerprint,
            "dataset": self.dataset,
            "dataset_fingerprint": self.dataset_fingerprint,
            "model": self.model,
            "protocol": self.protocol,
            "attack": self.attack,
            "defense": self.defense,
            "scale": self.scale,
            "seeds": list(self.seeds),
            "status": self.status.value,
            "confidence": self.confidence,
            "looks": list(self.looks),
            "planned_looks": self.planned_looks,
            "metrics": {name: _plain_estimate(estimate) for name, estimate in self.metrics.items()},
            "thresholds": [_plain_judgement(judgement) for judgement in self.judgements],
            "expected_failure": self.expected_failure,
            "reason": self.reason,
            "details": dict(self.details),
            "seconds": self.seconds,
            "costs": dict(self.costs),
            "jobs": self.jobs,
            "cached_jobs": self.cached_jobs,
            "challenge": self.challenge,
            "test": self.test,
            "environment": dict(self.environment),
        }
        return json.dumps(document, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Record":
        """Read the record that :meth:`to_json` wrote.

        Raises:
            ValueError: the line is no record, or one of another version. No other error comes of any line.
        """
        try:
            return cls._read(line)
        except (KeyError, TypeError, AttributeError, ArithmeticError, RecursionError, MemoryError) as error:
            raise ValueError(f"not a record: {type(error).__name__}: {error}") from error

    @classmethod
    def _read(cls, line: str) -> "Record":
        document = _DECODER.decode(line)
        if document["schema"] not in _READABLE:
            raise ValueError(f"schema {document['schema']!r}: this version reads schemas {_READABLE}")
        if line.count("[") + line.count("{") > _DEEPEST:
            _check_depth(document)
        if "\\u" in line or not line.isascii():
            _check_characters(document)
        _check_types(document)
        metrics = {name: _estimate(estimate) for name, estimate in document["metrics"].items()}
        return cls(
            **{name: document[name] for name in (*_TEXTS, *_OPTIONAL_TEXTS, "details", "seconds", "environment")},
            seeds=tuple(document["seeds"]),
            status=Status(document["status"]),
            metrics=metrics,
            judgements=tuple(_judgement(threshold, metrics) for threshold in document["thresholds"]),
            # Records of schema 1 lack these.
            looks=tuple(document.get("looks", ())),
            **{name: document[name] for name in _LATER if name in document},
        )


def _plain_estimate(estimate: Estimate) -> dict[str, Any]:
    plain: dict[str, Any] = {"value": estimate.value, "low": estimate.low, "high": estimate.high, "n": estimate.n}
    if estimate.values:
        plain["values"] = list(estimate.values)
    if estimate.method is not None:
        plain["method"] = estimate.method.value
    if estimate.rows is not None:
        plain["rows"] = estimate.rows
    return plain


def _estimate(plain: Mapping[str, Any]) -> Estimate:
    values, method = tuple(plain.get("values", ())), plain.get("method")
    return Estimate(
        **{**plain, "values": values, "method": None if method is None else Method(method)},
    )


def _plain_judgement(judgement: Judgement) -> dict[str, Any]:
    return {
        **asdict(judgement.threshold),
        "low": judgement.estimate.low,
        "high": judgement.estimate.high,
        "verdict": judgement.verdict.value,
        "met": judgement.met,
        "reason": judgement.reason,
    }


def _judgement(plain: Mapping[str, Any], metrics: Mapping[str, Estimate]) -> Judgement:
    estimate = metrics[plain["metric"]]
    if "low" in plain:
        estimate = replace(estimate, low=plain["low"], high=plain["high"])
    return Judgement(
        Threshold(plain["metric"], plain["op"], plain["bound"]),
        estimate,
        Verdict(plain["verdict"]),
        met=plain["met"],
        reason=plain.get("reason"),
    )


_TEXTS = ("case", "fingerprint", "dataset", "model", "protocol", "attack", "defense", "scale")
_OPTIONAL_TEXTS = ("dataset_fingerprint", "expected_failure", "reason")
_LATER = ("costs", "confidence", "planned_looks", "jobs", "cached_jobs", "challenge", "test")


# What JSON gives, by exact type: so a truth value is no number.
_TEXT, _LIST, _OBJECT, _WHOLE, _NUMBER = (str,), (list,), (dict,), (int,), (int, float)
_NONE = type(None)
_Types = tuple[type, ...]


def _check_types(document: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for a value whose type would only fail later, when it is sorted or printed."""
    for name in _TEXTS:
        _check(name, document[name], _TEXT)
    for name in _OPTIONAL_TEXTS:
        _check(name, document[name], (str, _NONE))
    for name in ("metrics", "details", "environment"):
        _check(name, document[name], _OBJECT)
    for name in ("seeds", "thresholds"):
        _check(name, document[name], _LIST)
    _check_each("seeds", document["seeds"], _WHOLE)
    _check("seconds", document["seconds"], _NUMBER)
    for name, seconds in document.get("costs", {}).items():
        _check(f"costs {name}", seconds, _NUMBER)
    for name, estimate in document["metrics"].items():
        _check(name, estimate["value"], _NUMBER)
        _check(name, estimate["n"], _WHOLE)
        _check(name, estimate["low"], (int, float, _NONE))
        _check(name, estimate["high"], (int, float, _NONE))
        _check_each(name, estimate.get("values", []), _NUMBER)
        _check(f"{name} rows", estimate.get("rows"), (int, _NONE))
    for threshold in document["thresholds"]:
        _check("metric", threshold["metric"], _TEXT)
        _check("op", threshold["op"], _TEXT)
        _check("bound", threshold["bound"], _NUMBER)
        _check("reason", threshold.get("reason"), (str, _NONE))
        _check("low", threshold.get("low"), (int, float, _NONE))
        _check("high", threshold.get("high"), (int, float, _NONE))
        _check("met", threshold["met"], (bool,))
    _check_each("looks", document.get("looks", []), _WHOLE)
    _check("confidence", document.get("confidence", 0.95), _NUMBER)
    _check("planned_looks", document.get("planned_looks", 1), _WHOLE)
    for name in ("jobs", "cached_jobs"):
        _check(name, document.get(name), (int, _NONE))
    for name in ("challenge", "test"):
        _check(name, document.get(name), (str, _NONE))


def _check(name: str, value: Any, types: _Types) -> None:
    if type(value) not in types:
        expected = " | ".join("None" if kind is _NONE else kind.__name__ for kind in types)
        raise TypeError(f"{name}={value!r}: expected {expected}")


def _check_each(name: str, values: Any, types: _Types) -> None:
    _check(name, values, _LIST)
    for value in values:
        if type(value) not in types:
            _check(name, value, types)


def _check_depth(value: Any) -> None:
    """Raise ``ValueError`` if lists and objects lie too deep within each other; without recursion."""
    level = [value]
    for _ in range(_DEEPEST):
        level = [inner for outer in level for inner in _within(outer)]
    if level:
        raise ValueError(f"not a record: values lie more than {_DEEPEST} deep within each other")


def _within(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _check_characters(document: Any) -> None:
    """Raise ``ValueError`` for text that cannot be written to a page: JSON can spell half a surrogate pair."""
    try:
        json.dumps(document, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise ValueError(f"not a record: half of a surrogate pair: {error.object[error.start]!r}") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) < len(pairs):
        names = [name for name, _ in pairs]
        double = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"not a record: it says {double!r} twice")
    return document


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"not a record: {number[:40]} is too large for a number")
    return value


def _whole(number: str) -> int:
    if len(number) > _DIGITS:
        raise ValueError(f"not a record: {number[:40]}... has {len(number)} digits")
    return int(number)


def _refuse(constant: str) -> float:
    raise ValueError(f"not a record: {constant} is no JSON number")


_DECODER = json.JSONDecoder(parse_constant=_refuse, parse_float=_finite, parse_int=_whole, object_pairs_hook=_distinct)
