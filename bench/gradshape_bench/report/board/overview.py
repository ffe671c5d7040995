"""The overview: for each threat which defences stand best, and where everything else is."""

from collections.abc import Iterable, Iterator, Sequence

from gradshape_bench.records.record import Status
from gradshape_bench.report import markdown
from gradshape_bench.report.board import ranking_blocks
from gradshape_bench.report.board.place import LEGEND, Place, page_of
from gradshape_bench.report.board.standings import Ranking
from gradshape_bench.report.board.task import BoardTask
from gradshape_bench.verdict import Verdict

# With plain training: more do not fit a screen, and are on the page of the ranking.
_SHOWN = 5
_TASKS = 500
# Names of a kind in a sentence.
_NAMED = 3
_INTRODUCTION = (
    "How well training recipes withstand data poisoning, and what that costs. The score is the worst case: of all "
    "attacks of one budget the one that does the most, averaged over budgets and tasks that all ranked defences share."
)
_EMPTY = """\
## No results yet

The results file holds no results. Run a suite, and this page is made at its end:

    pytest suites/ -k digits
"""
_SCALE_NOTES = {
    "paper": "the sizes of the paper",
    "smoke": "small enough to run in minutes: it shows that everything works, not how well a defence does",
}


def blocks(tasks: Sequence[BoardTask], rankings: Sequence[Ranking], place: Place) -> list[str]:
    """Return the Markdown of the overview, block by block.

    Args:
        tasks: all that are on the board, in the order of reports.
        rankings: of all fields.
        place: where the board is.
    """
    if not tasks:
        return ["# Leaderboard", markdown.paragraph(_INTRODUCTION), _EMPTY]
    scales = list(dict.fromkeys(task.scale for task in tasks))
    told = "; ".join(
        f"{markdown.escape(scale)} scale" + (f", {_SCALE_NOTES[scale]}" if scale in _SCALE_NOTES else "")
        for scale in scales
    )
    return [
        "# Leaderboard",
        markdown.paragraph(f"{_INTRODUCTION} {told[0].upper()}{told[1:]}."),
        _links(place),
        *(block for ranking in rankings for block in _ranking(ranking, place, several=len(scales) > 1)),
        "## Tasks",
        _tasks(tasks, place, several=len(scales) > 1),
        _made(tasks),
    ]


def _links(place: Place) -> str:
    links = [f"[How to read it, and what each label means]({place.down(LEGEND)})"]
    if place.ledger:
        links.append(f"[every number of the paper beside ours]({place.beside('reproduction.md')})")
    if place.privacy:
        links.append(f"[what privacy costs]({place.beside('privacy.md')})")
    return " · ".join(links)


def _ranking(ranking: Ranking, place: Place, *, several: bool) -> Iterator[str]:
    link = place.down(page_of(ranking.field))
    title = ranking.field.title + (f" ({markdown.escape(ranking.field.scale)} scale)" if several else "")
    yield f"## [{title}]({link})"
    yield ranking_blocks.table(ranking, shown=_SHOWN)
    more = len(ranking.standings) - _SHOWN
    others = f"{more} more are ranked." if more > 0 else ""
    yield markdown.bullets(
        markdown.paragraph(sentence, indent="  ")
        for sentence in (
            " ".join(filter(None, [ranking_blocks.verdict(ranking), ranking_blocks.separation(ranking), others])),
            ranking_blocks.ground(ranking, named=_NAMED),
            " ".join(ranking_blocks.left_out(ranking, named=_NAMED)),
        )
        if sentence
    )


def _tasks(tasks: Iterable[BoardTask], place: Place, *, several: bool) -> str:
    headers = ["data set, model", *(["scale"] if several else [])]
    headers += ["protocols", "measured", "missed", "expected failures", "open"]
    rows = []
    for task in tasks:
        missed = [record for record in task.records if record.missed]
        unforeseen = sum(record.expected_failure is None for record in missed)
        left_open = sum(record.verdict is Verdict.INCONCLUSIVE for record in task.records)
        measured = sum(record.status is Status.OK for record in task.records)
        rows.append(
            [
                f"[{markdown.escape(task.name)}]({place.down(task.page)})",
                *([markdown.escape(task.scale)] if several else []),
                ranking_blocks.some([markdown.escape(group.protocol) for group in task.groups], _NAMED),
                str(measured) if measured == len(task.records) else f"{measured} of {len(task.records)}",
                *map(str, (unforeseen, len(missed) - unforeseen, left_open)),
            ]
        )
    if len(rows) > _TASKS:
        rows = [*rows[:_TASKS], [f"and {len(rows) - _TASKS:,} more, in the folder", *[""] * (len(headers) - 1)]]
    return markdown.table(rows, headers)


def _made(tasks: Iterable[BoardTask]) -> str:
    found = (record.environment.get("commit") for task in tasks for record in task.records)
    commits = sorted({str(commit) for commit in found if commit})
    text = "Made by `gradshape leaderboard`; edits to it are lost. `gradshape show CASE` tells everything of a case."
    if commits:
        noun = "commit" if len(commits) == 1 else "commits"
        text += f" The results are of {noun} {markdown.escape(', '.join(commits))}."
    return markdown.paragraph(text)
