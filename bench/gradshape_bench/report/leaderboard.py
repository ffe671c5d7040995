"""The leaderboard: Markdown pages made from records alone. The same records give the same bytes, in any order."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from gradshape_bench.records.record import Record
from gradshape_bench.records.store import write_atomically
from gradshape_bench.report import ledger, markdown, page, tradeoff
from gradshape_bench.report.board import legend, overview, ranking_page, task_page
from gradshape_bench.report.board.place import LEGEND, Place, page_of
from gradshape_bench.report.board.ranking import rankings
from gradshape_bench.report.board.task import tasks_of
from gradshape_bench.report.grouping import RecordGroup

# Bytes of a page: more are slow to render anywhere.
LARGEST = 200_000
# Bytes that the links between the parts of a page take.
_LINKS = 4_000
# Begins every page but the overview, so that those of earlier boards can be told from somebody's notes.
MARK = "<!-- gradshape leaderboard -->"

Pages = Mapping[str, str]


def render(records: Sequence[Record], *, stem: str = "leaderboard", figures: Iterable[str] = ()) -> Pages:
    """Render the pages.

    Args:
        records: one record for each case, in any order; those without an attack are left to
            :mod:`gradshape_bench.report.tradeoff`.
        stem: name of the overview without its suffix, and of the folder of the other pages beside it.
        figures: names of the files in the folder ``figures`` beside the overview that pages may link to.

    Returns:
        The text of each page by its path from the folder of the overview; the overview is the first.

    Raises:
        ValueError: two records are of the same case and scale.

    >>> list(render([]))
    ['leaderboard.md']
    """
    doubles = [key for key, count in Counter(record.key for record in records).items() if count > 1]
    if doubles:
        raise ValueError(
            f"records has several of case {doubles[0][1]!r} at scale {doubles[0][0]!r}: expected the latest"
        )
    place = Place(
        stem,
        figures=frozenset(figures),
        ledger=any(map(ledger.concerns, records)),
        privacy=any(map(tradeoff.concerns, records)),
    )
    groups = RecordGroup.of(record for record in records if not tradeoff.concerns(record))
    tasks, ranked = tasks_of(groups), rankings(groups)
    pages = {f"{stem}.md": _text(overview.blocks(tasks, ranked, place))}
    if tasks:
        shown = [record for task in tasks for record in task.records]
        named: list[tuple[str, list[str], Iterable[str]]] = [(LEGEND, [], legend.blocks(shown, place))]
        named += [(page_of(one.field), *ranking_page.blocks(one, place)) for one in ranked]
        named += [(task.page, task_page.head(task, place), task_page.sections(task, place)) for task in tasks]
        pages |= {f"{stem}/{part}.md": text for name, head, rest in named for part, text in _parts(name, head, rest)}
    return pages


def _text(blocks: Iterable[str]) -> str:
    return "\n\n".join(block.strip("\n") for block in blocks if block) + "\n"


def _parts(name: str, head: Sequence[str], blocks: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the name and the text of a page; what does not fit goes on on further pages, each with the same head."""
    head = [MARK, *head]
    room = left = LARGEST - len(_text(head).encode()) - _LINKS
    parts: list[list[str]] = [[]]
    heading = ""
    for block in blocks:
        for piece in markdown.pieces(block, room - len(heading.encode())):
            begins = piece.startswith("## ")
            if begins:
                heading = f"{piece}, continued\n\n"
            taken = len(piece.encode()) + 2
            if taken > left and parts[-1]:
                parts.append([] if begins else [heading])
                left = room - len(heading.encode())
            parts[-1].append(piece)
            left -= taken
    names = [name, *(f"{name}-{number}" for number in range(2, len(parts) + 1))]
    links = " · ".join(f"[{number}]({part}.md)" for number, part in enumerate(names, start=1))
    for part, own in zip(names, parts, strict=True):
        yield part, _text([*head, f"Parts: {links}" if len(names) > 1 else "", *own])


def write(records: Sequence[Record], path: Path) -> list[str]:
    """Write the pages: the overview to ``path``, the others to the folder of its name without suffix.

    Pages of an earlier board in that folder that are no longer needed are removed; other files stay.

    Returns:
        One line for each record that the pages leave out, because it cannot be shown.

    Raises:
        OSError: a page cannot be written.
        ValueError: they cannot be rendered whatever is left out, or the name of the overview does not end in ``.md``.
    """
    if path.suffix != ".md":
        raise ValueError(f"{path}: expected a name that ends in .md, as a folder of the name without it is beside it")
    pages, left_out = page.rendered(lambda shown: render(shown, stem=path.stem), records)
    # The overview comes last, so that its links resolve once it is there.
    for name, text in reversed(list(pages.items())):
        write_atomically(path.parent / name if name != f"{path.stem}.md" else path, [text])
    for old in stale(path, pages):
        old.unlink(missing_ok=True)
    return [f"{path.name} leaves out {record.case}: {problem}" for record, problem in left_out]


def stale(path: Path, pages: Iterable[str]) -> list[Path]:
    """Return the files of an earlier board beside the overview at ``path`` that are not among the pages.

    Raises:
        OSError: a file of the folder cannot be read.
    """
    kept = {PurePosixPath(name).name for name in pages}
    found = []
    for file in sorted(path.with_suffix("").glob("*.md")):
        if file.name not in kept and file.is_file():
            with file.open("rb") as opened:
                if opened.read(len(MARK)) == MARK.encode():
                    found.append(file)
    return found
