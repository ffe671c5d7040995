"""A ranking as Markdown: its table, and the sentences that say how far it can be trusted."""

from collections.abc import Sequence

from gradshape_bench.report import cells, markdown
from gradshape_bench.report.board.standings import Apart, Cell, Ranking, Standing, TaskName
from gradshape_bench.report.headline import judged

HEADERS = ("rank", "defence", "mean worst case ↓", "against vanilla", "hardest ↓", "cost ↓", "✓/✗/?")


def table(ranking: Ranking, *, shown: int | None = None) -> str:
    """Return the table of a ranking.

    Args:
        ranking: the ranking.
        shown: at most so many of its defences, with plain training among them, and in short; ``None`` for all.
    """
    standings = list(ranking.standings)
    if shown is not None and len(standings) > shown:
        kept = standings[:shown]
        plain = [one for one in standings[shown:] if one.defense == "vanilla"]
        standings = [*kept[: shown - len(plain)], *plain]
    best = ranking.best
    named = len(ranking.tasks) > 1 and shown is None
    rows = [_row(one, best=one is best, named=named) for one in standings]
    return markdown.table(rows, HEADERS)


def _row(standing: Standing, *, best: bool, named: bool) -> list[str]:
    label = markdown.escape(standing.defense)
    interval = "" if standing.interval is None else " [{}, {}]".format(*map(cells.number, standing.interval))
    ranks = standing.ranks
    where = [standing.worst.attack] + ([standing.worst.dataset, standing.worst.model] if named else [])
    hardest = judged(standing.worst)
    value = "" if hardest is None else cells.number(hardest.value)
    return [
        # These must not be broken into two lines.
        str(standing.rank) + ("" if ranks is None else f"\N{NO-BREAK SPACE}[{ranks[0]},\N{NO-BREAK SPACE}{ranks[1]}]"),
        (f"**{label}**" if best else label) + (" §" if standing.beaten_by_trusted_rows else ""),
        f"{cells.number(standing.score)}{interval}",
        "" if standing.against_vanilla is None else standing.against_vanilla.value,
        f"{value} {markdown.escape(', '.join(where))}",
        "" if standing.cost is None else cells.number(standing.cost),
        "/".join(map(str, standing.verdicts)),
    ]


def separation(ranking: Ranking) -> str:
    """Return the sentence on which neighbours are told apart.

    Names joined by a slash are neighbours, each of which is not separated from the next.
    """
    labels = [markdown.escape(one.defense) for one in ranking.standings]
    if len(labels) < 2:
        return ""
    if not ranking.separated:
        return "Not separated: any neighbours, as some cells have a single seed and so no interval."
    if all(ranking.separated):
        return "All neighbours are separated."
    chains: list[list[str]] = [labels[:1]]
    for label, apart in zip(labels[1:], ranking.separated, strict=True):
        if apart:
            chains.append([])
        chains[-1].append(label)
    joined = "; ".join(" / ".join(chain) for chain in chains if len(chain) > 1)
    if not any(ranking.separated):
        return f"No neighbours are separated, of all {len(labels)}." if len(labels) > 2 else "They are not separated."
    return f"Neighbours that are *not* separated: {joined}."


def verdict(ranking: Ranking) -> str:
    """Return the sentence on which defence may be called best."""
    best = ranking.best
    if best is None:
        return "None may be called best: no defence beats a model trained on its trusted rows alone."
    if best.defense == "vanilla":
        return "No defence does better than plain training here, by the point values."
    name = f"Best by the point values: {markdown.escape(best.defense)}"
    if best.against_vanilla is None:
        return f"{name}."
    known = {
        Apart.BETTER: ", and separated from plain training",
        Apart.WORSE: ", but worse than plain training",
        Apart.NEITHER: ", but not separated from plain training",
    }
    return f"{name}{known[best.against_vanilla]}."


def left_out(ranking: Ranking, *, named: int | None = None) -> list[str]:
    """Return sentences on what is not ranked.

    Args:
        ranking: the ranking.
        named: at most so many names of each kind, without reasons; ``None`` for all, with their reasons.
    """
    lines = []
    if ranking.absent:
        names = [f"{markdown.escape(label)} ({_run(missing, ranking)})" for label, missing in ranking.absent.items()]
        lines.append(f"Not ranked, as they lack cells: {some(names, named)}.")
    if ranking.broken:
        names = [
            markdown.escape(label) + ("" if named is not None else f" ({markdown.escape(why)})")
            for label, why in ranking.broken.items()
        ]
        lines.append(f"Not ranked, as their clean models do not work: {some(names, named)}.")
    if ranking.controls:
        names = [
            markdown.escape(label) + ("" if score is None else f" {cells.number(score)}")
            for label, score in ranking.controls.items()
        ]
        lines.append(f"Controls, never ranked: {some(names, named)}.")
    if any(one.beaten_by_trusted_rows for one in ranking.standings):
        lines.append("§ does not beat a model that is trained on its trusted rows alone, so it is never called best.")
    return lines


def ground(ranking: Ranking, *, named: int | None = None) -> str:
    """Return the sentence on what the defences are ranked on, with at most so many names of tasks."""
    tasks = [f"{task_name(task)} ({len(attacks)})" for task, attacks in ranking.tasks.items()]
    count = len(ranking.standings)
    text = f"Ranked by `{ranking.field.metric}` on the {cells.count(ranking.cells, 'cell')}"
    if count > 1:
        text += f" that {'both' if count == 2 else f'all {count}'} have"
    text += f": {some(tasks, named, '; ')}"
    weak = sum(map(len, ranking.weak.values()))
    if weak:
        text += f"; not on {weak} that are random flips or do no more than these to plain training"
    return f"{text}."


def task_name(task: TaskName) -> str:
    """Return the name of a task, escaped; its protocol only where that is not the usual one."""
    dataset, model, protocol = task
    return markdown.escape(", ".join([dataset, model] + ([protocol] if protocol != "from_scratch" else [])))


def some(names: Sequence[str], named: int | None, separator: str = ", ") -> str:
    """List the first names, and say how many more there are; all of them if no number is given."""
    if named is None:
        return separator.join(names)
    more = len(names) - named
    return separator.join(names[:named]) + (f" and {more} more" if more > 0 else "")


def _run(missing: Sequence[Cell], ranking: Ranking) -> str:
    if len(missing) == ranking.cells:
        return "run elsewhere only"
    if len(missing) == 1:
        task, attack = missing[0]
        return f"not run on {markdown.escape(attack)} of {task_name(task)}"
    return f"not run on {len(missing)} of {ranking.cells}"
