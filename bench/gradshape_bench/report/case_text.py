"""All that a record says of its case, as text for people."""

from collections.abc import Iterator, Mapping, Sequence

from gradshape.metrics import Estimate
from gradshape_bench.protocols import meaning
from gradshape_bench.records.privacy_ledger import KEY, epsilon, ledger
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import cells
from gradshape_bench.report.case_line import outcome
from gradshape_bench.report.headline import headline
from gradshape_bench.report.markdown import one_line
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.report.terminal import WIDTH, aligned, wrapped
from gradshape_bench.verdict import Verdict

_PLACES = 4
# Details that have a line of their own, or stand in another one.
_TOLD = ("train_rows", "test_rows", "poison_rows", "budget", "trivial", "knowledge", KEY)


def case_text(record: Record, *, width: int = WIDTH) -> list[str]:
    """Return the lines: what the case is, thresholds, metrics with the values of the seeds, costs, and where it ran.

    Of metrics that are taken from two epochs only the protocol's choice is shown. ``gradshape show --json`` has all.

    Args:
        record: the record.
        width: columns of a line; words wider than that are cut in two.
    """
    lines = wrapped(f"{record.case} ({record.scale} scale)", width)
    judged = record.judgements or record.status is not Status.OK
    lines += wrapped(f"{outcome(record) if judged else 'no threshold'}{_because(record)}", width)
    for title, rows in (
        ("What it is", _what(record)),
        ("Thresholds", _thresholds(record)),
        (_metrics_title(record), _metrics(record)),
        ("Costs", _costs(record)),
        ("Details", _details(record)),
        ("Where it was measured", _environment(record)),
    ):
        lines += _section(title, list(rows), width)
    return lines


def _section(title: str, rows: Sequence[tuple[str, str]], width: int) -> list[str]:
    if not rows:
        return []
    names = aligned([(name, "") for name, _ in rows])
    indent = 2 + max(map(len, names)) + 2
    lines = ["", *wrapped(title, width, indent="")]
    for name, (_, text) in zip(names, rows, strict=True):
        if indent > width // 2:
            lines += wrapped(f"{name}: {text}", width, first="  ", indent="    ")
        else:
            first, *more = wrapped(text, width - indent, indent="")
            lines.append(f"  {name:<{indent - 2}}{first}".rstrip())
            lines += [" " * indent + line for line in more]
    return lines


def _because(record: Record) -> str:
    if record.status is not Status.OK:
        return f": {record.reason or 'no reason recorded'}"
    return "" if record.expected_failure is None else f"; expected to miss a threshold: {record.expected_failure}"


def _what(record: Record) -> Iterator[tuple[str, str]]:
    details = record.details
    rows = [f"{cells.plain(details[f'{part}_rows'])} {part} rows" for part in ("train", "test") if _has(record, part)]
    data = record.dataset_fingerprint
    rows += [] if data is None else [f"sha256 {data[:12]}"]
    yield "data set", record.dataset + (f" ({', '.join(rows)})" if rows else "")
    yield "model", record.model
    told = meaning(record.protocol)
    yield "protocol", record.protocol + (f": {told}" if told else "")
    poison = f"; poison rows {cells.by_seed(details['poison_rows'])}" if "poison_rows" in details else ""
    yield "attack", record.attack + poison
    yield "defence", record.defense
    yield "seeds", ", ".join(map(str, record.seeds)) or "none"
    if len(record.looks) > 1:
        looked = ", then ".join(map(str, record.looks))
        yield "", f"verdicts were looked at with {looked} seeds, at most {cells.count(record.planned_looks, 'time')}"
    if record.test is not None:
        yield "test", record.test


def _has(record: Record, part: str) -> bool:
    return f"{part}_rows" in record.details


def _thresholds(record: Record) -> Iterator[tuple[str, str]]:
    for judgement in record.judgements:
        side = "" if judgement.verdict is not Verdict.INCONCLUSIVE else f", {'met' if judgement.met else 'missed'}"
        verdict = f"{judgement.verdict.value}{side}"
        told = f"{judgement.estimate}: {verdict}"
        if judgement.reason is not None:
            told = f"{verdict}: {judgement.reason}; measured {judgement.estimate}"
        yield str(judgement.threshold), told


def _metrics_title(record: Record) -> str:
    return f"Metrics, with intervals of {100 * record.confidence:g} % and the values of the seeds or trials"


def _metrics(record: Record) -> Iterator[tuple[str, str]]:
    names = headline(record)
    for name, estimate in record.metrics.items():
        if name.removesuffix("_best").removesuffix("_last") != name:
            continue
        text = f"{cells.estimate(estimate, _PLACES)} (n={estimate.n})"
        if estimate.method is not None:
            text += f", {estimate.method.words}"
        text += _values(estimate)
        if names is not None and name == names.damage and name in METRICS:
            text += f". {METRICS[name].definition}"
        yield name, text


def _values(estimate: Estimate) -> str:
    values = estimate.values
    if not values:
        return ""
    if set(values) <= {0.0, 1.0}:
        return f": {sum(map(int, values))} of {len(values)}"
    return f": {' '.join(cells.number(value, _PLACES) for value in values)}"


def _costs(record: Record) -> Iterator[tuple[str, str]]:
    yield "computing time", f"{record.seconds:,.4g} s"
    for name, seconds in record.costs.items():
        yield name, f"{seconds:,.4g} s a job, in the mean"
    if record.jobs is not None:
        yield "jobs", f"{record.jobs:,}, {record.cached_jobs or 0:,} of them from the cache"
    spent = ledger(record)
    if spent:
        reason = spent.get("reason")
        yield "privacy", f"ε {epsilon(spent.get('epsilon'))}" + (f" ({reason})" if reason else "")


def _details(record: Record) -> Iterator[tuple[str, str]]:
    for name, value in record.details.items():
        if name not in _TOLD:
            yield name.replace("_", " "), one_line(cells.plain(value))


def _environment(record: Record) -> Iterator[tuple[str, str]]:
    known: Mapping[str, object] = record.environment
    yield from ((name, cells.plain(known[name])) for name in known)
    yield "case", f"sha256 {record.fingerprint[:12]}"
    if record.challenge is not None:
        yield "challenge", f"sha256 {record.challenge[:12]}"
