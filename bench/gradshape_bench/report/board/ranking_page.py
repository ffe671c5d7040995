"""The page of one ranking: the whole table, what each task contributes, and everything that is not ranked."""

from collections.abc import Iterator, Sequence

from gradshape_bench.report import cells, markdown
from gradshape_bench.report.board import ranking_blocks
from gradshape_bench.report.board.place import LEGEND, Place, task_page
from gradshape_bench.report.board.rank_intervals import DRAWS
from gradshape_bench.report.board.standings import Ranking, TaskName

# Wider tables do not fit a page.
_TASKS = 5


def blocks(ranking: Ranking, place: Place) -> tuple[list[str], list[str]]:
    """Return the Markdown of the page, block by block: its head, and the rest."""
    prose = [
        ranking_blocks.ground(ranking),
        ranking_blocks.verdict(ranking),
        ranking_blocks.separation(ranking),
        *ranking_blocks.left_out(ranking),
        _how(ranking),
    ]
    head = [
        f"# {ranking.field.title} ({markdown.escape(ranking.field.scale)} scale)",
        f"[Overview]({place.up}) · [how to read it, and what each label means]({LEGEND}.md)",
    ]
    return head, [
        ranking_blocks.table(ranking),
        *(markdown.paragraph(text) for text in prose if text),
        "## What each task contributes",
        markdown.paragraph("Mean over the budgets of the worst case of each; lower is better."),
        *_by_task(ranking),
        "## The attacks",
        markdown.bullets(_attacks(ranking)),
        *_elsewhere(ranking),
    ]


def _how(ranking: Ranking) -> str:
    if not ranking.separated:
        return ""
    how = f"Rank intervals of 95 % by {DRAWS:,} draws of tasks and seeds"
    if ranking.paired:
        return f"{how}, the same seeds for all defences."
    return (
        f"{how}. Some records are of an earlier version, without the values of single seeds, or count targets instead "
        "of seeds: these are drawn from value and interval, each on its own, which separates less than pairs would."
    )


def _by_task(ranking: Ranking) -> Iterator[str]:
    names = list(ranking.tasks)
    for start in range(0, len(names), _TASKS):
        some = names[start : start + _TASKS]
        headers = ["defence", *(f"[{ranking_blocks.task_name(name)}]({_page(ranking, name)})" for name in some)]
        rows = [
            [markdown.escape(one.defense), *(cells.number(one.by_task[names.index(name)]) for name in some)]
            for one in ranking.standings
        ]
        yield markdown.table(rows, headers)


def _page(ranking: Ranking, task: TaskName) -> str:
    dataset, model, _ = task
    return f"{task_page(ranking.field.scale, dataset, model)}.md"


def _attacks(ranking: Ranking) -> Iterator[str]:
    for task, attacks in ranking.tasks.items():
        weak = _listed(ranking.weak.get(task, ()))
        others = f". Not ranked on, no better than random flips or flips themselves: {weak}" if weak else ""
        yield f"{ranking_blocks.task_name(task)}: {_listed(attacks)}{others}"


def _listed(attacks: Sequence[str]) -> str:
    return ", ".join(map(markdown.escape, attacks))


def _elsewhere(ranking: Ranking) -> list[str]:
    if not ranking.elsewhere:
        return []
    links = [f"[{ranking_blocks.task_name(name)}]({_page(ranking, name)})" for name in ranking.elsewhere]
    return ["## Tasks on which these defences were not all run, or no attack is ranked", markdown.bullets(links)]
