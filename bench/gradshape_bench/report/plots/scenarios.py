"""Targets that an attack wins if the base model, its re-training, both or neither are defended.

Hong et al. 2020, Table 3.
"""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from gradshape_bench.records.record import Record
from gradshape_bench.report.file_names import file_name
from gradshape_bench.report.ordering import label_order
from gradshape_bench.report.plots import canvas
from gradshape_bench.report.plots.picture import Picture
from gradshape_bench.report.plots.plot_group import VANILLA, plot_groups, without_numbers
from gradshape_bench.report.plots.published_marks import published_marks
from gradshape_bench.report.plots.style import BLACK, GREY, Look, nth_look, style, text
from gradshape_bench.report.plots.targets_won import POISONS, experiment, known
from gradshape_bench.report.words import (
    attack_phrase,
    dataset_words,
    defense_words,
    model_words,
    protocol_phrase,
)

# The recipes of the base model and of its re-training: neither is defended, the latter, the former, both.
SCENARIOS = (("vanilla", "vanilla"), ("vanilla", "defended"), ("defended", "vanilla"), ("defended", "defended"))
_MIXED = re.compile(r"_(vanilla|defended)_to_(vanilla|defended)")
_PANELS = {
    ("one_shot", "success_rate"): "one poison row",
    ("multi_poison", "success_rate"): "several poison rows",
    ("multi_poison", POISONS): "several poison rows",
}
_LOOKS = {"success_rate": nth_look(0), "success_rate_control": nth_look(3), POISONS: nth_look(2)}
_ALPHA = 0.75
Scenario = tuple[str, str]
# Records by experiment and scenario.
Bars = Mapping[tuple[str, Scenario], Record]


@dataclass(frozen=True)
class SharedSetting:
    """What the records of one picture share, whichever of the two trainings is defended.

    They may differ in the number of candidates, so ``attack`` is a label without numbers.
    """

    scale: str
    dataset: str
    model: str
    protocol: str
    attack: str
    defense: str


def pictures(records: Sequence[Record]) -> Iterator[Picture]:
    """Draw a picture for each defence that was left out of one training: panels of numbers, bars of scenarios."""
    for setting, bars in _by_setting(records).items():
        mixed = any(base != again for _, (base, again) in bars)
        shown = [panel for panel in _PANELS if _known_bars(bars, *panel) > 1]
        if mixed and shown:
            yield _picture(setting, bars, shown)


def _settings(protocol: str) -> tuple[str, ...]:
    """Return words for what the label of a protocol says besides the experiment and who is defended."""
    return (protocol_phrase(f"one_shot_{protocol}").settings or (protocol,)) if protocol else ()


def _known_bars(bars: Bars, kind: str, metric: str) -> int:
    return sum(own == kind and known(record, metric) is not None for (own, _), record in bars.items())


def _by_setting(records: Sequence[Record]) -> Mapping[SharedSetting, Bars]:
    found: defaultdict[SharedSetting, defaultdict[tuple[str, str], dict[Scenario, Record]]]
    found = defaultdict(lambda: defaultdict(dict))
    for group in plot_groups(record for record in records if experiment(record) is not None):
        kind = str(experiment(group.records[0]))
        mixed = _MIXED.search(group.protocol)
        scenario = (mixed[1], mixed[2]) if mixed else SCENARIOS[-1]
        rest = _MIXED.sub("", group.protocol).removeprefix(kind).strip("_")
        for record in group.records:
            setting = SharedSetting(
                group.scale, group.dataset, group.model, rest, without_numbers(record.attack), record.defense
            )
            # Without a defence all scenarios are the same.
            own = SCENARIOS[0] if record.defense == VANILLA else scenario
            if record.defense == VANILLA or own != SCENARIOS[0]:
                found[setting][kind, record.attack].setdefault(own, record)
    undefended = {setting: cells for setting, cells in found.items() if setting.defense == VANILLA}
    return {
        setting: _bars(cells, undefended.get(replace(setting, defense=VANILLA), {}))
        for setting, cells in found.items()
        if setting.defense != VANILLA
    }


def _bars(
    defended: Mapping[tuple[str, str], Mapping[Scenario, Record]],
    undefended: Mapping[tuple[str, str], Mapping[Scenario, Record]],
) -> Bars:
    """Choose, for each experiment, the number of candidates that most scenarios have; of equals the largest."""
    bars: dict[tuple[str, Scenario], Record] = {}
    for kind in dict.fromkeys(kind for kind, _ in defended):
        attacks = [attack for own, attack in defended if own == kind]
        attack = max(attacks, key=lambda label: (len(defended[kind, label]), label_order(label)))
        cells = {**undefended.get((kind, attack), {}), **defended[kind, attack]}
        bars |= {(kind, scenario): record for scenario, record in cells.items()}
    return bars


def _picture(setting: SharedSetting, bars: Bars, shown: Sequence[tuple[str, str]]) -> Picture:
    attack = attack_phrase(next(iter(bars.values())).attack).without_amount
    task = f"{dataset_words(setting.dataset)}: {model_words(setting.model)}"
    aimed = _settings(setting.protocol)
    title = (
        f"Which training is defended: {text(attack)} against {text(defense_words(setting.defense))}\n"
        f"{text(', '.join([task, *aimed]))} ({text(setting.scale)} scale)"
    )
    with style():
        figure, grid = canvas.panels(1, len(shown), title=title, width=3.3, height=2.7)
        handles: list[Artist] = []
        for panel, (kind, metric) in zip(grid[0], shown, strict=True):
            attack = next(record.attack for (own, _), record in bars.items() if own == kind)
            canvas.title_panel(panel, f"{_PANELS[kind, metric]}: {text(attack_phrase(attack))}", width=3.3)
            handles += _panel(panel, kind, metric, bars)
        canvas.legend(figure, sorted(handles, key=lambda handle: str(handle.get_label()).startswith("published")))
    return Picture(file_name("table3_scenarios", *filter(None, astuple(setting))), figure)


def _panel(panel: Axes, kind: str, metric: str, bars: Bars) -> list[Artist]:
    handles: list[Artist] = []
    beside = ["success_rate", "success_rate_control"] if metric == "success_rate" else [metric]
    words = {
        "success_rate": "targets won",
        "success_rate_control": "targets won by clean rows (control)",
        POISONS: "poison rows needed",
    }
    width = 0.7 / len(beside)
    for number, name in enumerate(beside):
        look = _LOOKS[name]
        for place, scenario in enumerate(SCENARIOS):
            record = bars.get((kind, scenario))
            at = place + (number - (len(beside) - 1) / 2) * width
            if record is not None and known(record, name):
                handles += _bar(panel, at, width, record, name, look)
            elif number == 0:
                why = "not run" if record is None else "none won" if name == POISONS else "no target"
                panel.annotate(
                    why,
                    (place, 0),
                    (0, 3),
                    textcoords="offset points",
                    rotation=90,
                    ha="center",
                    fontsize=7,
                    color=GREY,
                )
        handles.append(Patch(color=look.color, alpha=_ALPHA, label=words[name]))
    panel.set_xticks(range(len(SCENARIOS)), ["neither", "re-training", "base model", "both"])
    panel.set_xlim(-0.6, len(SCENARIOS) - 0.4)
    panel.set_xlabel("which of the two trainings is defended")
    if metric == "success_rate":
        panel.set_ylim(0, 1.05)
        panel.set_ylabel("targets won (share)")
    else:
        panel.set_ylim(bottom=0)
        panel.set_ylabel("poison rows needed\n(mean over targets won)")
    panel.grid(visible=False, axis="x")
    return handles


def _bar(panel: Axes, at: float, width: float, record: Record, name: str, look: Look) -> list[Artist]:
    """Draw a bar with its interval and the published numbers; return what the legend shows for these."""
    estimate = record.metrics[name]
    panel.bar(at, estimate.value, width * 0.92, color=look.color, alpha=_ALPHA)
    # A bar of height 0 would not show.
    panel.plot([at], [estimate.value], color=look.color, marker="_", markersize=9, markeredgewidth=1.5)
    if estimate.low is not None and estimate.high is not None:
        panel.plot([at, at], [estimate.low, estimate.high], color=BLACK, linewidth=1)
    return canvas.draw_published(panel, at, published_marks(record, name), Look(BLACK, "o"))
