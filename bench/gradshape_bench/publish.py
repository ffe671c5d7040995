"""Publishing: taking the records of complete runs into the tracked reports, without losing what is there.

The records behind the published pages are tracked beside them, in one file for each scale, so that a run of some cases
renews these and keeps the others.
"""

import json
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from gradshape_bench.case import Scale
from gradshape_bench.records.pending import Pending
from gradshape_bench.records.record import Record, Status
from gradshape_bench.records.store import ResultsFile, replacing
from gradshape_bench.report import cells, html, leaderboard, ledger, plots, tradeoff
from gradshape_bench.report.page import rendered
from gradshape_bench.report.page_contents import numbers_on, settings_on
from gradshape_bench.speed import page as speed_page
from gradshape_bench.speed import results as speed_results

# Pages show three or four decimals, and the files of records should stay small.
_DIGITS = 6
_SHOWN = 3
# Pages show PNG; `gradshape figures` draws SVG, too, from the published records.
_PICTURE_FORMATS = ("png",)
_LEADERBOARDS = {Scale.PAPER: "leaderboard.md", Scale.SMOKE: "leaderboard-smoke.md"}


class Refused(Exception):
    """Publishing was refused, for the reason that the message gives."""


@dataclass(frozen=True)
class Change:
    """A file that publishing writes, or removes if there is no content, and a note on what that changes."""

    path: Path
    content: bytes | None
    note: str

    def __str__(self) -> str:
        verb = "removes" if self.content is None else "replaces" if self.path.exists() else "creates"
        return f"{verb} {self.path}{self.note and f': {self.note}'}"


@dataclass(frozen=True)
class Publication:
    """The changes that publishing a run makes.

    Attributes:
        changes: the files whose content changes.
        remarks: what is not published, one line for each reason.
    """

    changes: Sequence[Change]
    remarks: Sequence[str]

    def write(self) -> None:
        """Write the changed files, and remove those that are no longer needed."""
        for change in self.changes:
            if change.content is None:
                change.path.unlink(missing_ok=True)
                continue
            with replacing(change.path) as file:
                file.write(change.content)


def data_file(into: Path, scale: Scale) -> Path:
    """Return the path of the records behind the published pages of one scale."""
    # In a folder of their own, since `gradshape leaderboard FILE` writes its page beside the file.
    return into / "data" / f"{scale.value}.jsonl"


def prepare(
    results: Path, into: Path, *, scales: Collection[Scale] = tuple(Scale), replace: bool = False, figures: bool = True
) -> Publication:
    """Prepare the changes that publishing makes, and write nothing yet.

    A record replaces the published one of its case, unless that one has more seeds. Cases that were skipped are left
    out, because the reason concerns this machine only.

    Args:
        results: results file of the runs; the results of the speed suite lie beside it.
        into: folder of the published pages.
        scales: the scales whose records are published.
        replace: whether to drop published cases of these scales that the runs do not have.
        figures: whether to draw the figures, too.

    Raises:
        Refused: the runs are not complete, or a page would lose entries for which there are no records.
        MissingMatplotlib: figures are asked for and matplotlib is not installed.
        OSError: a file cannot be read.
    """
    complete = [record for record in ResultsFile(results).records() if record.scale in {s.value for s in scales}]
    records = [record for record in complete if record.status is not Status.SKIPPED]
    skipped = Counter(record.scale for record in complete if record.status is Status.SKIPPED)
    remarks = [f"leaves out {cells.count(n, 'case')} at {scale} scale: skipped" for scale, n in sorted(skipped.items())]
    changes = list(_speed_pages(results.parent, into, scales, remarks))
    if records:
        _check_complete(records, Pending(results), scales)
        written = {record.scale for record in records}
        known = {
            scale: _rewritten(data_file(into, scale), replace=replace)
            if scale.value in written
            else ResultsFile(data_file(into, scale)).records()
            for scale in Scale
        }
        merged = {
            scale: _merge([] if replace else known[scale], new, remarks) if new else known[scale]
            for scale, new in ((s, [record for record in records if record.scale == s.value]) for s in Scale)
        }
        drawn = _figures(_beside(records, merged), into / html.FIGURES, remarks.append) if figures else []
        changes += _boards(records, merged, known, into, {change.path.name for change in drawn}, replace=replace)
        changes += _pages(records, merged, into, replace=replace)
        changes += drawn
        changes.append(_to_browse(merged, into, [change.path for change in changes]))
    if not complete and not changes:
        raise Refused(f"{results}: it holds nothing to publish: run cases first (`pytest`), or name another")
    return Publication([change for change in changes if _differs(change)], remarks)


def _rewritten(path: Path, *, replace: bool) -> list[Record]:
    """Return the records of a file that is to be rewritten; refuse to lose without ``replace`` what else it holds."""
    contents = ResultsFile(path).read()
    if contents.left_out and not replace:
        count, named = len(contents.left_out), _some(list(map(str, contents.left_out)))
        raise Refused(
            f"{'1 line is no record' if count == 1 else f'{count} lines are no records'} of this version and would be "
            f"lost: {named}: mend or delete what is wrong, or drop it with --replace"
        )
    return contents.records


def _differs(change: Change) -> bool:
    return not change.path.exists() or change.content is None or change.path.read_bytes() != change.content


def _check_complete(records: Iterable[Record], pending: Pending, scales: Collection[Scale]) -> None:
    selected = pending.keys()
    if selected is None:
        raise Refused(
            f"{pending.path}: there is no such file to say which cases were selected: run the cases again, finished "
            "jobs come from the cache"
        )
    open_cases = sorted(case for scale, case in selected if scale in {s.value for s in scales})
    if open_cases:
        raise Refused(f"{cells.count(len(open_cases), 'selected case')} not measured yet: {_some(open_cases)}")
    broken = [record for record in records if record.status not in (Status.OK, Status.SKIPPED)]
    if broken:
        described = [f"{record.case} ({record.status.value})" for record in broken]
        raise Refused(f"{cells.count(len(broken), 'case')} without a measurement: {_some(described)}")


def _some(names: Sequence[str]) -> str:
    more = f", and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _merge(known: Sequence[Record], new: Sequence[Record], remarks: list[str]) -> list[Record]:
    merged = {record.key: record for record in known}
    kept = 0
    for record in map(_compact, new):
        old = merged.get(record.key)
        if old is not None and len(record.seeds) < len(old.seeds):
            kept += 1
        else:
            merged[record.key] = record
    if kept:
        has = "it has" if kept == 1 else "they have"
        remarks.append(f"keeps {cells.count(kept, 'published case')} at {new[0].scale} scale: {has} fewer seeds now")
    return [merged[key] for key in sorted(merged)]


def _compact(record: Record) -> Record:
    return Record.from_json(_line(record))


def _line(record: Record) -> str:
    return json.dumps(_rounded(json.loads(record.to_json())), separators=(",", ":"))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


@dataclass(frozen=True)
class _PublishedPage:
    """A published page.

    Attributes:
        name: name of its file.
        render: renders the page from records.
        contents: reads section and name of each entry back from the text of the page.
        noun: what an entry is.
    """

    name: str
    render: Callable[[Sequence[Record]], str]
    contents: Callable[[str], set[tuple[str, str]]]
    noun: str


def _boards(
    records: Sequence[Record],
    merged: Mapping[Scale, Sequence[Record]],
    known: Mapping[Scale, Sequence[Record]],
    into: Path,
    drawn: Collection[str],
    *,
    replace: bool,
) -> Iterator[Change]:
    """Yield the records and the leaderboard of each scale that has new records."""
    figures = {*drawn, *(path.name for path in (into / "figures").glob("*.png"))}
    for scale in Scale:
        if not any(record.scale == scale.value for record in records):
            continue
        overview = into / _LEADERBOARDS[scale]
        if overview.exists() and not known[scale] and not replace:
            raise Refused(f"{overview}: there are no records of it, so it would be lost; --replace drops it")
        render = partial(leaderboard.render, stem=overview.stem, figures=figures)
        pages, left_out = rendered(render, merged[scale])
        _check_shown(overview, left_out)
        yield _data(data_file(into, scale), merged[scale], known[scale])
        for name, text in pages.items():
            yield Change(into / name, text.encode(), "")
        for old in leaderboard.stale(overview, pages):
            yield Change(old, None, "")


def _check_shown(path: Path, left_out: Iterable[tuple[Record, str]]) -> None:
    lines = [f"{path} cannot show {record.case}: {problem}" for record, problem in left_out]
    if lines:
        raise Refused("\n".join(lines))


def _pages(
    records: Sequence[Record], merged: Mapping[Scale, Sequence[Record]], into: Path, *, replace: bool
) -> Iterator[Change]:
    """Yield the pages that show records of both scales."""
    everything = [record for scale in Scale for record in merged[scale]]
    pages = []
    if any(map(tradeoff.concerns, records)):
        pages.append(_PublishedPage("privacy.md", tradeoff.render, settings_on, "setting"))
    # Smoke scale only fills gaps in the ledger.
    if any(ledger.concerns(record) and record.scale == Scale.PAPER.value for record in records):
        pages.append(_PublishedPage("reproduction.md", ledger.render, numbers_on, "number at paper scale"))
    lost: list[str] = []
    for page in pages:
        path = into / page.name
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        text, left_out = rendered(page.render, everything)
        _check_shown(path, left_out)
        before, after = page.contents(old), page.contents(text)
        missing = _by_section(before - after)
        lost += [f"{path}, {section}: {_some(names)}" for section, names in missing.items()]
        yield Change(path, text.encode(), _note(page, before, after, old))
    if lost and not replace:
        raise Refused("\n".join(["these would be lost, as there are no records of them; --replace drops them:", *lost]))


def _to_browse(merged: Mapping[Scale, Sequence[Record]], into: Path, written: Collection[Path]) -> Change:
    """Return the page to browse, of all scales, which links the figures that will be there."""
    page = into / html.PAGE
    everything = [record for scale in Scale for record in merged[scale]]
    drawn = {path.name for path in written if path.parent == into / html.FIGURES} | set(html.figures_beside(page))
    text, _ = rendered(partial(html.render, drawn=drawn), everything)
    return Change(page, text.encode(), cells.count(len(everything), "case"))


def _data(path: Path, merged: Sequence[Record], known: Sequence[Record]) -> Change:
    before = {record.key: _line(record) for record in known}
    after = {record.key: _line(record) for record in merged}
    same = sum(before.get(key) == line for key, line in after.items())
    fresh = len(after.keys() - before.keys())
    gone = len(before.keys() - after.keys())
    commits = sorted({str(commit) for record in merged if (commit := record.environment.get("commit"))})
    note = f"{cells.count(len(after), 'case')}" + (f" (commit {', '.join(commits)})" if commits else "")
    note += f": {fresh} new, {len(after) - fresh - same} measured again, {same} as before"
    text = "".join(f"{line}\n" for line in after.values())
    return Change(path, text.encode(), note + (f", {gone} gone" if gone else ""))


def _note(page: _PublishedPage, before: Collection[object], after: Collection[object], old: str) -> str:
    said = cells.count(len(after), page.noun)
    return f"{cells.count(len(before), page.noun)} by {said}" if old else said


def _by_section(entries: Iterable[tuple[str, str]]) -> dict[str, list[str]]:
    sections: defaultdict[str, list[str]] = defaultdict(list)
    for section, name in sorted(entries):
        sections[section].append(name)
    return {section: [f"{len(names)} ({_some(names)})"] for section, names in sections.items()}


def _beside(records: Iterable[Record], merged: Mapping[Scale, Sequence[Record]]) -> list[Record]:
    """Return all records that share a picture with one of ``records``."""
    new = {_group(record) for record in records}
    return [record for at_scale in merged.values() for record in at_scale if _group(record) in new]


def _group(record: Record) -> tuple[str, str, str]:
    # Some pictures show several protocols side by side.
    return record.scale, record.dataset, record.model


def _figures(records: Sequence[Record], folder: Path, tell: Callable[[str], None]) -> list[Change]:
    with tempfile.TemporaryDirectory() as drawn:
        written = plots.write(records, Path(drawn), tell=tell, formats=_PICTURE_FORMATS).values()
        files = [file for of_kind in written for file in of_kind]
        return [Change(folder / file.name, file.read_bytes(), "") for file in files]


def _speed_pages(folder: Path, into: Path, scales: Collection[Scale], remarks: list[str]) -> Iterator[Change]:
    """Yield the pages about speed of runs at paper scale; those at smoke scale are not for quoting."""
    for source in sorted(folder.glob("speed*.json")):
        try:
            run = speed_results.load(source)
        except ValueError as error:
            raise Refused(str(error)) from error
        if run.scale is not Scale.PAPER or run.scale not in scales:
            remarks.append(f"leaves out {source}: it is at {run.scale.value} scale")
            continue
        kept = into / source.name
        note = f"commit {run.environment.get('commit')}"
        if kept.exists():
            try:
                note = f"commit {speed_results.load(kept).environment.get('commit')} by {note}"
            except ValueError:
                note = f"another version by {note}"
        yield Change(kept, run.to_json().encode(), note)
        yield Change(kept.with_suffix(".md"), speed_page.render(run).encode(), note)
