"""One section of the leaderboard: the records of one data set, model and protocol at one scale."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from gradshape_bench.records.privacy_ledger import assumption, epsilon, is_noisy, ledger
from gradshape_bench.records.record import Record, Status
from gradshape_bench.report import cells, markdown, target_counts
from gradshape_bench.report.grouping import RecordGroup
from gradshape_bench.report.headline import cost, headline, total
from gradshape_bench.report.ordering import poison_counts

# Cells of a section that differ in any of these are hard to compare.
_SETUP = ("train_rows", "test_rows", "estimator", "optimizer", "lr", "batch_size", "epochs", "accuracy")

# In the order of the columns.
_CERTIFICATE = ("certified_bound", "objective_reached")
_NOMINAL, _HOLDS = "*nominal ε*", "*ε that holds*"


@dataclass(frozen=True)
class Section(RecordGroup):
    """A group of records as a section of the leaderboard."""

    @property
    def title(self) -> str:
        """The heading, escaped."""
        return markdown.escape(f"{self.dataset}, {self.model}, {self.protocol}")

    @property
    def anchor(self) -> str:
        """The anchor that links to the section point to."""
        return cells.anchor("s", self.scale, self.dataset, self.model, self.protocol)

    @property
    def measured(self) -> list[Record]:
        """The records that have metrics."""
        return [record for record in self.records if record.status is Status.OK]

    def blocks(self) -> list[str]:
        """Return the Markdown of the section, block by block."""
        differing, costs = list(_disagreements(self)), self.costs()
        blocks = [f'<a id="{self.anchor}"></a>', f"### {self.title}", *_setup_line(self)]
        if differing:
            blocks += ["These cases were not all run alike, so compare them with care:", markdown.bullets(differing)]
        names = next((found for found in map(headline, self.records) if found is not None), None)
        price = names.cost if names is not None and any(costs) else None
        clean = [] if price is None else [[f"*{price.replace('_', ' ')}*", "", *costs]]
        rows = [line for attack, row in self._rows() for line in self._attacked(attack, row)]
        columns = [markdown.escape(defense) for defense in self.defenses]
        counted = any(row[1] for row in rows)
        spent = self.privacy()
        what = "what the defence costs without poison" if clean else ""
        if spent:
            what += (", and" if clean else "") + " the privacy that one training spends"
        place = "last rows" if spent else "last row"
        blocks += [
            (f"{names.title} (`{names.damage}`)" if names else "What the poison did (`rad`)")
            + (f"; {place}: {what.strip()}:" if what else ":"),
            markdown.table(
                [line if counted else [line[0], *line[2:]] for line in rows + clean + spent],
                ["attack", *(["poison rows"] if counted else []), *columns],
            ),
            *self.privacy_note(),
            *target_counts.blocks(self),
        ]
        if names is not None and any(total(record) for record in self.records):
            rows = [[self._name(attack), *self._total(attack, row)] for attack, row in self._rows()]
            blocks += [f"Both together (`{names.total}`):", markdown.table(rows, ["attack", *columns])]
        blocks += self._certificates()
        blocks += self._filters()
        blocks += self._knowledge()
        missing = list(_unmeasured(self.records))
        if missing:
            blocks += ["Not measured:", markdown.bullets(missing)]
        cases = "\n".join(_case(record) for record in self.records)
        summary = f"<summary>Cases ({len(self.records)}): thresholds, seeds, how to run them again</summary>"
        return [*blocks, f"<details>\n{summary}", cases, "</details>"]

    def _rows(self) -> Iterator[tuple[str, list[list[Record]]]]:
        for attack in self.attacks:
            yield attack, [self.cell(attack, defense) for defense in self.defenses]

    def _attacked(self, attack: str, row: list[list[Record]]) -> Iterator[list[str]]:
        """Yield the line of an attack, and that of its control if there is one."""
        yield [self._name(attack), _poison_rows(row), *self._damage(attack, row)]
        control = [target_counts.control(cell) for cell in row]
        if any(control):
            yield [f"*{markdown.escape(attack)}, control*", "", *control]

    def _name(self, attack: str) -> str:
        sign = " *(control)*" if attack in self.controls else " ‡" if attack in self.no_better_than_control else ""
        return markdown.escape(attack) + sign

    def _damage(self, attack: str, row: list[list[Record]]) -> Iterator[str]:
        best = self.best(attack)
        for cell in row:
            yield "<br>".join(cells.damage(record, bold=record is best) for record in cell) or "not run"

    def _total(self, attack: str, row: list[list[Record]]) -> Iterator[str]:
        best = self.best(attack)
        for cell in row:
            texts = []
            for record in cell:
                text = cells.estimate(total(record)) or cells.state(record)
                texts.append(f"**{text}**" if record is best else text)
            yield "<br>".join(texts) or "not run"

    def _certificates(self) -> list[str]:
        """Return a table of what attacks reached beside the bound that is proved for all attacks like them."""
        rows = []
        for attack in self.attacks:
            records = [r for r in self.records if r.attack == attack and r.metrics.keys() >= set(_CERTIFICATE)]
            pairs = dict.fromkeys(tuple(cells.estimate(r.metrics[name], 4) for name in _CERTIFICATE) for r in records)
            rows += [[markdown.escape(attack), *pair] for pair in pairs]
        if not rows:
            return []
        return [
            "Certificates: no poison that passes the attack's filter can push the training objective above the bound.",
            markdown.table(rows, ["attack", *(name.replace("_", " ") for name in _CERTIFICATE)]),
        ]

    def _filters(self) -> list[str]:
        """Return a table of what filters removed, and how long they took."""
        filters = [
            d for d in self.defenses if any(r.defense == d and "clean_removed" in r.metrics for r in self.records)
        ]
        if not filters:
            return []
        rows = [
            [markdown.escape(attack), *("<br>".join(map(_filtered, self.cell(attack, defense))) for defense in filters)]
            for attack in self.attacks
        ]
        return [
            "What the filters removed, and their computing time for one training set:",
            markdown.table(rows, ["attack", *map(markdown.escape, filters)]),
        ]

    def _knowledge(self) -> list[str]:
        """Return a list of what defences are told and attacks know, where the records say so."""
        lines = []
        for kind, key, labels in (
            ("defense", "defense_knows", self.defenses),
            ("attack", "attack_knows", self.attacks),
        ):
            known = {
                getattr(record, kind): record.details[key]
                for record in self.measured
                if isinstance(record.details.get(key), list)
            }
            groups: defaultdict[str, list[str]] = defaultdict(list)
            for label in labels:
                if known.get(label):
                    groups[", ".join(map(str, known[label]))].append(markdown.escape(label))
            verb = "is told" if kind == "defense" else "knows"
            lines += [f"{', '.join(who)} {verb} of: {markdown.escape(what)}" for what, who in groups.items()]
        return ["Knowledge, where there is any:", markdown.bullets(lines)] if lines else []

    def costs(self) -> list[str]:
        """Return the cost of each defence: one value if its cases agree, else all values."""
        row = []
        for defense in self.defenses:
            records = [record for record in self.records if record.defense == defense]
            texts = dict.fromkeys(cells.estimate(cost(record)) for record in records)
            row.append("<br>".join(text for text in texts if text))
        return row

    def privacy(self) -> list[list[str]]:
        """Return the rows with both epsilons of each defence, if any defence adds noise."""
        if not any(map(is_noisy, self.records)):
            return []
        rows = []
        for name, key in ((_NOMINAL, "nominal_epsilon"), (_HOLDS, "epsilon")):
            row = [name, ""]
            for defense in self.defenses:
                ledgers = [ledger(record) for record in self.records if record.defense == defense and ledger(record)]
                row.append("<br>".join(dict.fromkeys(epsilon(spent.get(key)) for spent in ledgers)))
            rows.append(row)
        return rows

    def privacy_note(self) -> list[str]:
        """Return the assumptions of the epsilons, if there are any."""
        ledgers = [ledger(record) for record in self.records if is_noisy(record)]
        if not ledgers:
            return []
        deltas, accountants = (
            " / ".join(sorted({cells.plain(spent.get(key)) for spent in ledgers})) for key in ("delta", "accountant")
        )
        words = " ".join(sorted({assumption(spent.get("sampling")) for spent in ledgers}))
        return [markdown.escape(f"ε at δ = {deltas}, accountant {accountants}. {words}")]


def _setup(records: Sequence[Record]) -> dict[str, list[tuple[str, list[Record]]]]:
    """Return, by field, the values that the records have, the most frequent first, each with its records."""
    fields: dict[str, list[tuple[str, list[Record]]]] = {}
    for name in (*_SETUP, "seeds", "data"):
        groups: defaultdict[str, list[Record]] = defaultdict(list)
        for record in records:
            groups[_setting(record, name)].append(record)
        fields[name] = sorted(groups.items(), key=lambda item: (-len(item[1]), item[0]))
    return fields


def _setting(record: Record, name: str) -> str:
    if name == "seeds":
        return ", ".join(map(str, record.seeds)) or "none"
    if name == "data":
        return (record.dataset_fingerprint or "unknown")[:12]
    return cells.plain(record.details[name]) if name in record.details else "unknown"


def _setup_line(section: Section) -> list[str]:
    if not section.measured:
        return []
    text = {
        name: " / ".join(markdown.escape(value) for value, _ in values)
        for name, values in _setup(section.measured).items()
    }
    trained = (
        f"{text['optimizer']}, learning rate {text['lr']}, batch size {text['batch_size']}, {text['epochs']} epochs"
    )
    if text["estimator"] != "unknown":
        trained = f"fitted by {text['estimator']}"
    else:
        trained += f"; accuracy of the {text['accuracy']} epoch"
    return [
        f"{text['train_rows']} training rows and {text['test_rows']} test rows (data {text['data']}); {trained}; "
        f"seeds {text['seeds']}."
    ]


def _disagreements(section: Section) -> Iterator[str]:
    for name, values in _setup(section.measured).items():
        for value, records in values[1:]:
            links = [f"[{markdown.escape(record.case)}](#{cells.case_anchor(record)})" for record in records[:3]]
            if len(records) > 3:
                links.append(f"{len(records) - 3} more")
            most = f"{markdown.escape(values[0][0])} in {cells.count(len(values[0][1]), 'case')}"
            yield (
                f"{name.replace('_', ' ')}: {most}, "
                f"but {markdown.escape(value)} in {cells.count(len(records), 'case')}: {', '.join(links)}"
            )
    for defense, text in zip(section.defenses, section.costs(), strict=True):
        if "<br>" in text:
            yield f"utility loss of {markdown.escape(defense)}: its cases do not agree, so all values are shown"


def _unmeasured(records: Iterable[Record]) -> Iterator[str]:
    groups: defaultdict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        if record.status is not Status.OK:
            groups[record.status.value, record.reason or "no reason recorded"].append(record)
    for (status, reason), cases in sorted(groups.items()):
        # The table shows which cases they are, and the entry of each case repeats the reason.
        yield f"{status}, {cells.count(len(cases), 'case')}: {markdown.escape(reason)}"


def _filtered(record: Record) -> str:
    clean, poison = (record.metrics.get(f"{kind}_removed") for kind in ("clean", "poison"))
    if clean is None:
        return cells.state(record)
    seconds = record.costs.get("filtering")
    parts = [f"{100 * poison.value:.0f} % of poison"] if poison is not None else []
    parts.append(f"{100 * clean.value:.1f} % of clean")
    return ", ".join(parts + ([f"{seconds:.2g} s"] if seconds is not None else []))


def _poison_rows(row: list[list[Record]]) -> str:
    counts = {count for cell in row for record in cell for count in poison_counts(record)}
    return " to ".join(f"{count:,}" for count in sorted({min(counts), max(counts)})) if counts else ""


def _case(record: Record) -> str:
    """Return the entry that a cell links to, with one decimal more than in tables, so that verdicts can be checked."""
    lines = [cells.threshold(judgement) for judgement in record.judgements]
    if record.expected_failure is not None:
        lines.append(f"expected failure: {markdown.escape(record.expected_failure)}")
    if record.status is not Status.OK:
        lines.append(f"{record.status.value}: {markdown.escape(record.reason or 'no reason recorded')}")
    own = {name for name in record.metrics if name.removesuffix("_best").removesuffix("_last") == name}
    if own:
        values = [f"{markdown.escape(name)} {cells.estimate(record.metrics[name], 4)}" for name in sorted(own)]
        lines.append(", ".join(values))
    facts = [f"{name.replace('_', ' ')} {_setting(record, name)}" for name in ("seeds", "data")]
    facts += [f"{name} {cells.plain(record.details[name])}" for name in ("shaper", "budget") if name in record.details]
    if "poison_rows" in record.details:
        facts.append(f"poison rows {cells.by_seed(record.details['poison_rows'])}")
    commit = record.environment.get("commit")
    facts.append(f"commit {'unknown' if commit is None else cells.plain(commit)}")
    lines.append(markdown.escape("; ".join(facts)))
    command = f'pytest suites/ -k "[{record.case}]" --scale {record.scale}'
    lines.append(markdown.code(command))
    entry = f'- <a id="{cells.case_anchor(record)}"></a>**{markdown.escape(record.case)}**'
    return "\n".join([entry, *(f"  - {line}" for line in lines)])
