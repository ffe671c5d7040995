"""How much results depend on the seeds: verdicts that repetitions turn, and the noise between them."""

import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass

from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import markdown
from gradshape_bench.report.cells import count
from gradshape_bench.verdict import Verdict

# How many are listed one by one.
_LISTED = 20


@dataclass(frozen=True)
class JudgedOften:
    """A threshold of a case, and its verdicts in the repetitions that have it, in their order."""

    scale: str
    case: str
    threshold: str
    verdicts: tuple[Verdict, ...]

    @property
    def flips(self) -> bool:
        """Whether two repetitions are sure of opposite verdicts."""
        return {Verdict.PASS, Verdict.FAIL} <= set(self.verdicts)


@dataclass(frozen=True)
class Noise:
    """The A/A noise of a metric: how much its value differs between repetitions with other seeds.

    Attributes:
        metric: its name.
        cases: how many cases have it in at least two repetitions.
        typical: root of the mean, over these cases, of the variance between repetitions.
        largest: the largest standard deviation between repetitions.
        where: the case that has it.
    """

    metric: str
    _: KW_ONLY
    cases: int
    typical: float
    largest: float
    where: str


@dataclass(frozen=True)
class Flakiness:
    """What repetitions with other seeds say of results.

    Attributes:
        repetitions: how many there are.
        judged: thresholds that at least two of them have judged, by scale, case and threshold.
        noise: of every metric, by name.
        remarks: what makes it less than it seems, one sentence each.
    """

    repetitions: int
    _: KW_ONLY
    judged: Sequence[JudgedOften]
    noise: Sequence[Noise]
    remarks: Sequence[str]

    @property
    def flips(self) -> list[JudgedOften]:
        """The thresholds whose sure verdicts differ."""
        return [judged for judged in self.judged if judged.flips]

    def lines(self) -> Iterator[str]:
        """Yield what there is to say, in Markdown: flips, the share of inconclusive verdicts, and a table of noise."""
        verdicts = [verdict for judged in self.judged for verdict in judged.verdicts]
        unsure = sum(verdict is Verdict.INCONCLUSIVE for verdict in verdicts)
        flips = self.flips
        counts = count(len(self.judged), "threshold"), count(len(verdicts), "verdict")
        yield f"{self.repetitions} repetitions, {', '.join(counts)}"
        yield from self.remarks
        yield ""
        turned = "whose conclusive verdict differs between repetitions"
        yield f"{count(len(flips), 'threshold')} {turned}{':' if flips else ''}"
        yield from (f"- {markdown.escape(_told(judged))}" for judged in flips[:_LISTED])
        if len(flips) > _LISTED:
            yield f"- and {len(flips) - _LISTED} more"
        share = 100 * unsure / len(verdicts) if verdicts else 0.0
        yield f"{count(unsure, 'inconclusive verdict')}, {share:.1f} %"
        if self.noise:
            yield ""
            yield "Standard deviation between repetitions (A/A noise):"
            yield ""
            yield from markdown.table(map(_noise_row, self.noise), _NOISE_HEADERS).splitlines()


def flakiness(repetitions: Sequence[Sequence[Record]]) -> Flakiness:
    """Compare repetitions of the same cases with other seeds.

    Cases that are put up against something else in one of them (other rows, attack or protocol) are left out.

    Args:
        repetitions: the records of each.

    Raises:
        ValueError: there are fewer than two, or no case is in two of them.
    """
    if len(repetitions) < 2:
        raise ValueError(f"{count(len(repetitions), 'repetition')}: expected at least two results files")
    together: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for records in repetitions:
        for record in records:
            if record.status is Status.OK:
                together[record.key].append(record)
    repeated = {key: records for key, records in sorted(together.items()) if len(records) > 1}
    if not repeated:
        raise ValueError("no case was measured in two of the files: expected repetitions of the same cases")
    alike = {key: records for key, records in repeated.items() if len({_challenge(record) for record in records}) == 1}
    return Flakiness(
        len(repetitions),
        judged=[judged for key, records in alike.items() for judged in _judged(key, records)],
        noise=_noise(alike),
        remarks=list(_remarks(together, repeated, alike)),
    )


def _challenge(record: Record) -> tuple[str | None, str | None]:
    return record.challenge, record.dataset_fingerprint


def _judged(key: tuple[str, str], records: Sequence[Record]) -> Iterator[JudgedOften]:
    verdicts: defaultdict[str, list[Verdict]] = defaultdict(list)
    for record in records:
        for judgement in record.judgements:
            verdicts[str(judgement.threshold)].append(judgement.verdict)
    for threshold, found in verdicts.items():
        if len(found) > 1:
            yield JudgedOften(*key, threshold, tuple(found))


def _noise(repeated: Mapping[tuple[str, str], Sequence[Record]]) -> list[Noise]:
    deviations: defaultdict[str, list[tuple[float, str]]] = defaultdict(list)
    for (scale, case), records in repeated.items():
        for name in dict.fromkeys(name for record in records for name in record.metrics):
            values = [record.metrics[name].value for record in records if name in record.metrics]
            if len(values) > 1:
                deviations[name].append((statistics.stdev(values), f"{scale} {case}"))
    return [
        Noise(
            name,
            cases=len(found),
            typical=math.sqrt(math.fsum(deviation**2 for deviation, _ in found) / len(found)),
            largest=(largest := max(found, key=lambda pair: pair[0]))[0],
            where=largest[1],
        )
        for name, found in sorted(deviations.items())
    ]


def _remarks(
    together: Mapping[tuple[str, str], Sequence[Record]],
    repeated: Mapping[tuple[str, str], Sequence[Record]],
    alike: Mapping[tuple[str, str], Sequence[Record]],
) -> Iterator[str]:
    once = len(together) - len(repeated)
    if once:
        yield f"left out, as only one file has measured it: {count(once, 'case')}"
    other = len(repeated) - len(alike)
    if other:
        yield f"left out, as not all files have the same rows, attack and protocol: {count(other, 'case')}"
    shared = sum(
        len({seed for record in records for seed in record.seeds}) < sum(len(record.seeds) for record in records)
        for records in alike.values()
    )
    if shared:
        yield f"seeds are in several files, which makes them agree more than others would: {count(shared, 'case')}"


def _told(judged: JudgedOften) -> str:
    verdicts = ", ".join(verdict.value for verdict in judged.verdicts)
    return f"{judged.scale} {judged.case}: {judged.threshold}: {verdicts}"


_NOISE_HEADERS = ("metric", "cases", "typical", "largest", "largest in")


def _noise_row(noise: Noise) -> list[str]:
    numbers = f"{noise.typical:.3g}", f"{noise.largest:.3g}"
    return [f"`{noise.metric}`", f"{noise.cases:,}", *numbers, markdown.escape(noise.where)]
