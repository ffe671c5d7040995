"""The leaderboard: a Markdown page made from records alone. The same records give the same bytes, in any order."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from gradshape_bench.protocols import meaning
from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, markdown, page, tradeoff
from gradshape_bench.report.metric_definitions import METRICS
from gradshape_bench.report.section import Section

_INTRODUCTION = """\
# Leaderboard

How well training recipes withstand data poisoning, and what that costs. This page is generated from the results file by
`gradshape leaderboard`; edits to it are lost.

## How to read it

Each section has one data set, one model and one protocol: a row for each attack, named by its family and its intensity,
and a column for each defence, from the weakest setting to the strongest. `vanilla` is plain training. A cell reads
`0.012 [0.008, 0.016] ✓`: the relative accuracy drop (`rad`, lower is better), its 95 % interval over the seeds (none
with a single seed), and whether the case meets its thresholds. Attacks on single targets have the share of targets that
they won (`success_rate`) in its place, with Wilson's interval over the targets, and below it their control. The number
links to the case: its thresholds, seeds and the command that runs it again.
"""

_MARKS = (
    "✓ PASS: the intervals lie on the right side of all thresholds of the case.",
    "✗ FAIL: an interval lies on the wrong side of a threshold.",
    "✓? or ✗? INCONCLUSIVE: the value meets (✓) or misses (✗) its threshold, but its interval holds the bound, or "
    "there is none.",
    "† It was expected to miss a threshold, and its case says why; so ✓† is an unexpected pass.",
    "No mark: the case has no threshold.",
    "**Bold**: the best defence against the attack of this row, which is the one with the smallest `rad_vs_vanilla`, "
    "because that counts what a defence costs, too; of equals the leftmost. Where that is not measured, as with single "
    "targets, it is the one with the smallest number in the first table, so look at what it costs, too. It may be "
    "`vanilla`: then no defence pays here. Point estimates decide, so where intervals overlap the order is not "
    "settled. A row without poison, or with a single measured defence, has no best.",
    "*control*: re-trainings with clean rows in the place of the poison, until one flips the target, with as many "
    "chances as the attack has: what they flip, re-training alone flips.",
    "no target: the base model classifies no row correctly, or there is no poison within the distance that the attack "
    "allows. Nothing was attacked, so nothing is known of the defence.",
    "*(control)*: random flips of some of the training labels, with the budget and the constraints of other attacks of "
    "the section: what these could trivially do.",
    "‡ The attack does not do significantly more to `vanilla` than its control, whether that is random flips or clean "
    "rows in its place: the difference is within the root of the summed squares of their intervals' half-widths, or "
    "there is no interval. No defence is the best against it, "
    "and a ✓ in its row speaks for no defence: the row shows how weak the attack is here. Attacks without a control, "
    "such as back doors and those on regression, are not compared, nor is one that was not measured on `vanilla` "
    "together with its control.",
    "not run: the results file has nothing about this combination.",
    "skipped, failed, crashed, diverged, timeout: it was tried and there is no measurement, which is not a bad score; "
    "the reason is below the table.",
)

_EMPTY = """\
## No results yet

The results file holds no results. Run a suite, and this page is made at its end:

    pytest suites/ -k digits
"""

_SCALE_NOTES = {
    "paper": "The sizes of the paper.",
    "smoke": "Small enough to run in minutes: it shows that everything works, not how well a defence does.",
}

_ELSEWHERE = "What privacy costs without an attack is on a page of its own: [{privacy}]({privacy})."


def render(records: Sequence[Record], *, privacy: str = "privacy.md") -> str:
    """Render the page.

    Args:
        records: one record for each case, in any order; those without an attack are left to
            :mod:`gradshape_bench.report.tradeoff`.
        privacy: name of the page that :mod:`gradshape_bench.report.tradeoff` makes of these, beside this one.

    Raises:
        ValueError: two records are of the same case and scale.

    >>> "No results yet" in render([])
    True
    """
    doubles = [key for key, count in Counter(record.key for record in records).items() if count > 1]
    if doubles:
        raise ValueError(
            f"records has several of case {doubles[0][1]!r} at scale {doubles[0][0]!r}: expected the latest"
        )
    elsewhere = any(map(tradeoff.concerns, records))
    records = [record for record in records if not tradeoff.concerns(record)]
    sections = Section.of(records)
    blocks = [_INTRODUCTION, markdown.bullets(_MARKS), *([_ELSEWHERE.format(privacy=privacy)] if elsewhere else [])]
    if records:
        blocks += [*_definitions(sections), *_contents(sections)]
        for scale in dict.fromkeys(section.scale for section in sections):
            blocks += [f"## {markdown.escape(scale.capitalize())} scale", _SCALE_NOTES.get(scale, "")]
            blocks += [block for section in sections if section.scale == scale for block in section.blocks()]
        blocks += _environments(records)
    else:
        blocks.append(_EMPTY)
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def write(records: Sequence[Record], path: Path) -> list[str]:
    """Write the page to ``path``; see :func:`gradshape_bench.report.page.write`."""
    return page.write(render, records, path)


def _definitions(sections: Sequence[Section]) -> list[str]:
    present = {name for section in sections for record in section.records for name in record.metrics}
    metrics = [f"`{name}`: {metric.definition}" for name, metric in METRICS.items() if name in present]
    if metrics:
        metrics.append("Which epoch's accuracy counts, the best or the last, is said in each section.")
    protocols = sorted({record.protocol for section in sections for record in section.records})
    told = [(name, meaning(name)) for name in protocols]
    meanings = [f"{markdown.code(name)}: {words}" for name, words in told if words]
    blocks = ["Metrics:", markdown.bullets(metrics)] if metrics else []
    return blocks + (["Protocols:", markdown.bullets(meanings)] if meanings else [])


def _contents(sections: Sequence[Section]) -> list[str]:
    rows = []
    for section in sections:
        missed = [record for record in section.records if record.missed]
        unforeseen = sum(record.expected_failure is None for record in missed)
        rows.append(
            [
                f"[{section.title}](#{section.anchor})",
                markdown.escape(section.scale),
                *map(str, (len(section.records), len(section.measured), unforeseen, len(missed) - unforeseen)),
            ]
        )
    headers = ["data set, model, protocol", "scale", "cases", "measured", "missed thresholds", "expected failures"]
    return ["## Contents", markdown.table(rows, headers)]


def _environments(records: Sequence[Record]) -> list[str]:
    counts = Counter(
        ", ".join(f"{name} {cells.plain(value)}" for name, value in sorted(record.environment.items()))
        or "not recorded"
        for record in records
    )
    lines = (f"{markdown.escape(text)} ({cells.count(count, 'case')})" for text, count in sorted(counts.items()))
    return ["## Where the results come from", markdown.bullets(lines)]
