"""The page that explains the others: marks, labels, metrics, protocols, and where the results come from."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

from gradshape_bench.protocols import meaning
from gradshape_bench.records.record import Record
from gradshape_bench.report import cells, markdown
from gradshape_bench.report.board.place import Place
from gradshape_bench.report.metric_definitions import METRICS, arrow
from gradshape_bench.report.ordering import defense_order, label_order
from gradshape_bench.report.words import attack_phrase, dataset_words, defense_words

_RANKINGS = (
    "Rankings compare like with like: a scale, a threat and a kind of victim each. Which metric ranks is said below "
    "the table: the one that counts what the defence costs, too (`rad_vs_vanilla`), where it is measured.",
    "*Worst case*: of all attacks of one budget on a task, the one that does the most to this defence. The score is "
    "its mean over the budgets of a task, and over the tasks. *Hardest* is the single largest value, and by which "
    "attack.",
    "Every ranked defence was measured on all of the cells that the ranking is on, the largest such table of "
    "defences and cells; no mean is ever taken over the cells that a defence happens to have. The others are listed "
    "below, with what they were not run on.",
    "*Rank* 2 [1, 4]: second by the point values, and between first and fourth in 95 % of the draws of a bootstrap "
    "over tasks and seeds, the same draws for all defences. Deviations over a few seeds are stretched to those of "
    "Student's t. Records without the values of single seeds are drawn from value and interval, each on its own.",
    "Neighbours are separated if the 95 % interval of the difference of their scores lies above zero; this is not "
    "corrected for the number of neighbours. Names joined by a slash are not separated, each from the next.",
    "**Bold** is the best by the point values. Never called best: *controls*, which are told what is poison or draw "
    "lots, and § defences that do not beat a model trained on nothing but the rows that they trust.",
    "Attacks that do no more to plain training than random flips of the same budget (‡), and such flips themselves "
    "(*control*), enter no ranking: to withstand them proves nothing.",
    "Where the ranking metric does not count the cost (back doors, targets), a defence whose clean model does not "
    "work is not ranked: it loses more than 0.1 of its accuracy, or is near a guess.",
)
_TABLES = (
    "A row is an attack, named by its family and its intensity; a column is a defence, from the weakest setting to "
    "the strongest. `vanilla` is plain training.",
    "`0.012 [0.008, 0.016]`: the value and its interval of 95 %, over the seeds or, of a success rate, over the "
    "targets. No interval: a single seed.",
    "✓ PASS, ✗ FAIL: the intervals lie on the right side of all thresholds of the case, or one on the wrong side.",
    "✓? or ✗? INCONCLUSIVE: the value meets or misses its threshold, and the interval holds the bound, or there is "
    "none.",
    "✗! FAIL though the number is small: the clean model does not work, or poison improves it; below the tables it "
    "is said why.",
    "† It was expected to miss a threshold, and its case says why; so ✓† is an unexpected pass. No mark: no threshold.",
    "**Bold**: the best defence against the attack of this row by the total of attack and defence, or by the damage "
    "where there is no total; of equals the leftmost. It may be `vanilla`: then no defence pays here.",
    "*(control)*: random flips with the budget and the constraints of other attacks. ‡: an attack that does not do "
    "significantly more to `vanilla` than its control, by the root of the summed squares of their intervals' "
    "half-widths; a ✓ in its row speaks for no defence.",
    "*control* below an attack on targets: re-trainings with clean rows in the place of the poison, with as many "
    "chances: what they flip, re-training alone flips. *No target*: nothing was attacked, so nothing is known.",
    "*Worst case* below the matrix: the largest value of all attacks with as many poison rows, also those marked ‡; "
    "its interval holds the largest of the true values (Bonferroni) where single seeds are recorded.",
    "*Dose*: the fewest poison rows, of the intensities that were run, whose interval lies wholly beyond the "
    "threshold of the case; *open at* are smaller numbers whose interval holds it.",
    "● Known to the attacker (the paper's Table 1), or told to the defender (Table 2). *Must beat*: the control.",
    "not run: there is no result of this combination. skipped, failed, crashed, diverged, timeout: it was tried and "
    "there is no measurement, which is not a bad score; the reason is below the tables.",
)
_ATTACKS = (
    "What ends an attack's label is its intensity. Shares are of the clean training rows; candidates are the poison "
    "rows that are tried against a target."
)
_DEFENSES = (
    "To clip to C is to scale the gradient of every training row down to norm C; noise is the standard deviation of "
    "what is added to the sum of a batch. A filter's share is what it removes, of each class."
)


def blocks(records: Sequence[Record], place: Place) -> list[str]:
    """Return the Markdown of the page, block by block.

    Args:
        records: all that are on the board.
        place: where the board is.
    """
    return [
        "# How to read the leaderboard",
        f"[Overview]({place.up})",
        "## Rankings",
        markdown.bullets(_RANKINGS),
        "## Tables of a task",
        markdown.bullets(_TABLES),
        *_labels(records),
        "## Metrics",
        markdown.bullets(_metrics(records)),
        "## Protocols",
        markdown.bullets(_protocols(records)),
        "## Where the results come from",
        markdown.bullets(_environments(records)),
    ]


def _labels(records: Iterable[Record]) -> Iterator[str]:
    """Yield tables of the labels that have words; those of a user's own parts stand for themselves."""
    attacks, defenses, datasets = ({getattr(r, part) for r in records} for part in ("attack", "defense", "dataset"))
    kinds: list[tuple[str, str, Iterable[str], Callable[[str], str]]] = [
        ("attack", _ATTACKS, sorted(attacks, key=label_order), lambda label: str(attack_phrase(label))),
        ("defence", _DEFENSES, sorted(defenses, key=defense_order), defense_words),
        ("data set", "", sorted(datasets), dataset_words),
    ]
    yield "## Labels"
    for kind, note, labels, words in kinds:
        rows = [[markdown.escape(label), markdown.escape(told)] for label in labels if (told := words(label)) != label]
        if rows:
            yield markdown.paragraph(note)
            yield markdown.table(rows, [kind, "in words"])
    yield "A label that is not listed is a user's own, or says what it is."


def _metrics(records: Iterable[Record]) -> list[str]:
    present = {name for record in records for name in record.metrics}
    lines = [f"`{name}` {arrow(name)}: {metric.definition}" for name, metric in METRICS.items() if name in present]
    return [*lines, "Which epoch's accuracy counts, the best or the last, is said with each protocol."]


def _protocols(records: Iterable[Record]) -> list[str]:
    names = sorted({record.protocol for record in records})
    return [f"{markdown.code(name)}: {words}" for name in names if (words := meaning(name)) is not None]


def _environments(records: Sequence[Record]) -> list[str]:
    # Thousands of records have the same few.
    same = Counter(repr(record.environment) for record in records)
    kinds = {repr(record.environment): record.environment for record in records}
    counts: Counter[str] = Counter()
    for key, environment in kinds.items():
        told = ", ".join(f"{name} {cells.plain(value)}" for name, value in sorted(environment.items()))
        counts[told or "not recorded"] += same[key]
    return [f"{markdown.escape(text)} ({cells.count(count, 'case')})" for text, count in sorted(counts.items())]
