"""The record of a case, written to the results file as one line of JSON."""

import json
from collections.abc import Mapping
from dataclasses import KW_ONLY, asdict, dataclass, field
from enum import Enum
from types import UnionType
from typing import Any

from gradshape.metrics import Estimate
from gradshape_bench.verdict import Judgement, Threshold, Verdict

SCHEMA = 1
# The reason begins with this if the data of the case could not be had.
MISSING_DATA = "data:"


class OtherSchema(ValueError):
    """A line was written in the schema of another version of this project."""


class Status(Enum):
    """Whether a case could be measured. A bad score is not a status."""

    OK = "ok"
    FAILED = "failed"
    SKIPPED = "skipped"
    CRASHED = "crashed"
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
        thresholds = [{**asdict(j.threshold), "verdict": j.verdict.value, "met": j.met} for j in self.judgements]
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
            "metrics": {name: asdict(estimate) for name, estimate in self.metrics.items()},
            "thresholds": thresholds,
            "expected_failure": self.expected_failure,
            "reason": self.reason,
            "details": dict(self.details),
            "seconds": self.seconds,
            "costs": dict(self.costs),
            "environment": dict(self.environment),
        }
        return json.dumps(document, allow_nan=False)

    @classmethod
    def from_json(cls, line: str) -> "Record":
        """Read the record that :meth:`to_json` wrote.

        Raises:
            OtherSchema: the line has another schema version; it is a ``ValueError``, too.
            ValueError: the line is no record.
        """
        try:
            document = json.loads(line, parse_constant=_refuse)
            if document["schema"] != SCHEMA:
                raise OtherSchema(f"schema {document['schema']!r}: this version reads schema {SCHEMA}")
            _check_types(document)
            metrics = {name: Estimate(**estimate) for name, estimate in document["metrics"].items()}
            judgements = tuple(
                Judgement(
                    Threshold(t["metric"], t["op"], t["bound"]),
                    metrics[t["metric"]],
                    Verdict(t["verdict"]),
                    met=t["met"],
                )
                for t in document["thresholds"]
            )
            return cls(
                **{name: document[name] for name in (*_TEXTS, *_OPTIONAL_TEXTS, "details", "seconds", "environment")},
                seeds=tuple(document["seeds"]),
                status=Status(document["status"]),
                metrics=metrics,
                judgements=judgements,
                costs=document.get("costs", {}),  # Records of earlier versions have none.
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a record: {type(error).__name__}: {error}") from error


_TEXTS = ("case", "fingerprint", "dataset", "model", "protocol", "attack", "defense", "scale")
_OPTIONAL_TEXTS = ("dataset_fingerprint", "expected_failure", "reason")


def _check_types(document: Mapping[str, Any]) -> None:
    """Raise ``TypeError`` for a value whose type would only fail later, when it is sorted or printed."""
    fields: list[tuple[str, Any, type | UnionType]] = [(name, document[name], str) for name in _TEXTS]
    fields += [(name, document[name], str | None) for name in _OPTIONAL_TEXTS]
    fields += [(name, document[name], dict) for name in ("metrics", "details", "environment")]
    fields += [("seeds", seed, int) for seed in document["seeds"]]
    fields.append(("seconds", document["seconds"], int | float))
    fields += [(f"costs {name}", seconds, int | float) for name, seconds in document.get("costs", {}).items()]
    for name, estimate in document["metrics"].items():
        fields += [(name, estimate["value"], int | float), (name, estimate["n"], int)]
        fields += [(name, estimate[end], int | float | None) for end in ("low", "high")]
    fields += [("bound", threshold["bound"], int | float) for threshold in document["thresholds"]]
    for name, value, kind in fields:
        if not isinstance(value, kind):
            raise TypeError(f"{name}={value!r}: expected {getattr(kind, '__name__', kind)}")


def _refuse(constant: str) -> float:
    raise ValueError(f"not a record: {constant} is no JSON number")
