"""The counterparts of published numbers: which cases measure each, as which metric, and what the paper concludes."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from functools import cache
from itertools import product

from gradshape_bench.report.published import PublishedNumber, published_numbers

STAND_INS = {"purchase100": "purchase_synthetic"}


@dataclass(frozen=True)
class CasePatterns:
    """Patterns of the ids of cases that measure a number.

    Attributes:
        patterns: the patterns, the closest to the paper's experiment first. ``#`` stands for a number and ``*`` for
            anything within a label.

    >>> patterns = CasePatterns(("digits-lr-sota_#-vanilla-one_shot_3to4", "digits-lr-sota_#-vanilla-one_shot"))
    >>> patterns.rank("digits-lr-sota_10-vanilla-one_shot"), patterns.rank("digits-lr-sota_10-vanilla")
    (1, None)
    """

    patterns: tuple[str, ...]

    def __str__(self) -> str:
        return self.patterns[0]

    def rank(self, case: str) -> int | None:
        """Return the place of the first pattern that an id matches, from 0; ``None`` if it matches none."""
        match = _expression(self.patterns).fullmatch(case)
        return None if match is None else int(match.lastgroup.removeprefix("p"))  # type: ignore[union-attr]


@cache
def _expression(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(f"(?P<p{place}>{_source(pattern)})" for place, pattern in enumerate(patterns)))


def _source(pattern: str) -> str:
    return re.escape(pattern).replace(r"\#", r"[\d.]+").replace(r"\*", "[^-]*")


@dataclass(frozen=True)
class Conclusion:
    """A conclusion of the paper from a number, which may hold where the number itself cannot be compared.

    Attributes:
        words: the conclusion, for a reader.
        relation: ``<=``, ``>=``, ``<`` or ``>``.
        factor: factor on the other case's value; without another case the bound itself.
        other: case whose value of the same metric is the other side of the comparison, with the same data set, model
            and attack; ``None`` if ``factor`` is the bound.
    """

    words: str
    relation: str
    factor: float
    _: KW_ONLY
    other: CasePatterns | None = None


@dataclass(frozen=True)
class Counterpart:
    """The measurement here that corresponds to a published number.

    Attributes:
        cases: the cases that measure it; the published number is a statement about all of them.
        metric: name of the metric in their records.
        relation: relation that ours should have to the number: ``=``, or ``<`` or ``>`` if the paper states a bound.
        tolerance: largest absolute difference that counts as none.
        caveat: why the two numbers must not be compared; empty if they may be.
        note: remark on a comparison that may be made.
        conclusion: what the paper concludes from the number; ``None`` if nothing beyond the number itself.
        by_definition: value that the experiment gives the number by definition; ``None`` if it is measured.
    """

    cases: tuple[CasePatterns, ...]
    metric: str
    relation: str = "="
    _: KW_ONLY
    tolerance: float = 0.0
    caveat: str = ""
    note: str = ""
    conclusion: Conclusion | None = None
    by_definition: float | None = None


_RAD, _ACCURACY, _RATE, _RATIO = 0.005, 0.01, 0.01, 0.1
_ATTACKS = {"random_lf": "label_flip", "slab_steinhardt": "sota"}
_FASHION = "fashion_mnist_34-lr"
_CRITERION = "a criterion, not a measurement"
_COUNTS_ROWS = "near a stationary point the ratio only counts rows: 10,800 / 4,320 = 2.5 for any split"
_SAME_SUM = "the released analysis sums the whole batch for both sides, so its number says nothing of the poison"
_SUMS_BATCHES = (
    "the released analysis compares the one batch with poison with the sum of some hundred clean ones, by the first "
    "layer's kernel alone; ours is of the batches that both share, by all parameters"
)
_DEFECTS = {
    ("n_poisons", 5.43): "no released result file gives it",
    ("success_rate", 0.0714): "holds only with a two-sided accuracy filter",
}
_ADAM = "the released checkpoints of this model hold Adam's moments"


@cache
def counterpart(row: PublishedNumber) -> Counterpart | str:
    """Return the counterpart of a published number, or the reason why it has none."""
    if row.dataset == "all":
        return _CRITERION
    return _EXPERIMENTS[row.experiment](row)


def counterparts() -> Iterable[tuple[PublishedNumber, Counterpart]]:
    """Yield the published numbers that have a counterpart, with it, in the paper's order."""
    for row in published_numbers():
        how = counterpart(row)
        if isinstance(how, Counterpart):
            yield row, how


def has_counterpart(case: str) -> bool:
    """Return whether the id is that of a case that measures a published number."""
    return _any_case().fullmatch(case) is not None


@cache
def _any_case() -> re.Pattern[str]:
    patterns = dict.fromkeys(one for _, how in counterparts() for asked in how.cases for one in asked.patterns)
    return re.compile("|".join(_source(pattern) for pattern in patterns))


def stand_in(row: PublishedNumber, case: str) -> str | None:
    """Return the data set that ``case`` has in place of the one of ``row``; ``None`` if it has that one itself."""
    name = STAND_INS.get(row.dataset)
    return name if name is not None and case.startswith(f"{name}-") else None


def _cases(*ids: str) -> tuple[CasePatterns, ...]:
    return tuple(CasePatterns((case,)) for case in ids)


def _drop_tolerance(row: PublishedNumber) -> float:
    # If only two decimals are stated, the third is unknown.
    return 2 * _RAD if round(row.value, 2) == row.value else _RAD


def _defense(row: PublishedNumber) -> str:
    if row.clip_norm is None:
        return "vanilla"
    optimizer = "adam" if "adam" in row.optimizer else "sgd"
    noise = f"_s{row.noise:g}" if row.noise else ""
    return f"dp_{optimizer}_c{row.clip_norm:g}{noise}"


def _defenses(row: PublishedNumber) -> list[str]:
    """Return the labels of the defence of ``row``, that with the paper's twofold learning rate first."""
    if "DP base" in row.optimizer:
        labels = ["dp_adam_c4_s0.01"]
    elif row.clip_norm is None and row.noise:
        labels = [f"dp_sgd_c#_s{row.noise:g}"]
    else:
        labels = [_defense(row)]
        if labels == ["vanilla"]:
            return labels
    if (row.dataset, row.model) == ("purchase100", "mlp"):
        labels.insert(0, labels[0].replace("_sgd_", "_adam_"))
    return [f"{label}{rate}" for label in labels for rate in ("_x2", "")]


def _patterns(row: PublishedNumber, experiment: str, defenses: Iterable[str], scenario: str = "") -> CasePatterns:
    """Return patterns of cases with the paper's attack; its pair of classes, data set and plain form come first."""
    data = [row.dataset, *([STAND_INS[row.dataset]] if row.dataset in STAND_INS else [])]
    pair = "3to4" if row.dataset == "purchase100" else "#to#"
    protocols = (f"{experiment}_{pair}{scenario}", f"{experiment}{scenario}")
    labels = product(data, protocols, ("poison_frogs_#", "poison_frogs_*_#"), defenses)
    return CasePatterns(
        tuple(f"{name}-{row.model}-{attack}-{defense}-{protocol}" for name, protocol, attack, defense in labels)
    )


def _targets_counterpart(row: PublishedNumber) -> Counterpart:
    """Return the counterpart of a number of the experiments on single targets."""
    multi = "multi" in row.attack
    experiment = "multi_poison" if multi else "one_shot"
    scenario = ""
    if row.experiment == "table3":
        scenario = "_defended_to_vanilla" if "DP base" in row.optimizer else scenario
        scenario = "_vanilla_to_defended" if row.clip_norm is not None else scenario
    caveat = _DEFECTS.get((row.metric, row.value), "") if row.experiment == "fig6" else ""
    cases = (_patterns(row, experiment, _defenses(row), scenario),)
    note = _ADAM if (row.dataset, row.model, row.optimizer) == ("purchase100", "mlp", "dp-sgd") else ""
    if row.metric == "rad":
        conclusion = None
        if row.dataset in STAND_INS:
            small = row.value < 0.1
            conclusion = Conclusion(
                "at most 0.02" if small else "at least 0.5", "<=" if small else ">=", 0.02 if small else 0.5
            )
        return Counterpart(
            cases, "utility_loss", tolerance=_drop_tolerance(row), caveat=caveat, note=note, conclusion=conclusion
        )
    if row.metric == "n_poisons" and not multi:
        return Counterpart(cases, "success_rate", note="one at a time, by definition", by_definition=1.0)
    conclusion = _conclusion(row, experiment, cases[0])
    if row.metric == "n_poisons":
        return Counterpart(
            cases, "poisons_needed", tolerance=_RATIO * row.value, caveat=caveat, note=note, conclusion=conclusion
        )
    # A bound is rounded as it is printed.
    relation, tolerance = (">", 5e-5) if "LOWER BOUND" in row.note else ("=", _RATE)
    return Counterpart(
        cases, "success_rate", relation, tolerance=tolerance, caveat=caveat, note=note, conclusion=conclusion
    )


def _conclusion(row: PublishedNumber, experiment: str, own: CasePatterns) -> Conclusion | None:
    """Return what the paper concludes from a success rate or a number of poison rows by comparing it."""
    vanilla = _patterns(row, experiment, ["vanilla"])
    if own == vanilla:
        return None
    if row.metric == "n_poisons":
        if row.experiment == "table3":
            return Conclusion("more than without DP", ">", 1.0, other=vanilla)
        if row.clip_norm == 8.0:
            return None
        loosest = _patterns(row, experiment, ["dp_adam_c8_x2", "dp_adam_c8"])
        return Conclusion("at least three times that of C = 8", ">=", 3.0, other=loosest)
    if row.value > 0.9:
        return Conclusion("at least nine tenths of that without DP", ">=", 0.9, other=vanilla)
    if row.value > 0.5:
        return Conclusion("less than without DP", "<", 1.0, other=vanilla)
    return Conclusion("at most half of that without DP", "<=", 0.5, other=vanilla)


def _gradients_counterpart(row: PublishedNumber) -> Counterpart:
    """Return the counterpart of a number on the gradients in re-trainings for single targets."""
    own, vanilla = (_patterns(row, "gradients_one_shot", defenses) for defenses in (_defenses(row), ["vanilla"]))
    defended = row.optimizer.startswith("dp")
    metric = "magnitude_ratio" if row.metric == "magnitude_ratio" else "cosine_similarity_spread"
    conclusion = Conclusion("less than without DP", "<", 1.0, other=vanilla) if defended else None
    if not defended and metric == "magnitude_ratio":
        conclusion = Conclusion("the poison's gradients are the larger ones", ">", 1.0)
    return Counterpart((own,), metric, caveat=_SAME_SUM if defended else _SUMS_BATCHES, conclusion=conclusion)


def _flips_counterpart(row: PublishedNumber) -> Counterpart:
    """Return the counterpart of a number on the training with poison from the start."""
    attack = f"{_ATTACKS[row.attack]}_{40 if row.intensity == 'overall' else round(100 * float(row.intensity))}"
    case = f"{_FASHION}-{attack}-{_defense(row)}"
    if row.metric == "rad":
        return Counterpart(_cases(case), "rad_vs_vanilla", tolerance=_drop_tolerance(row))
    caveat = _SAME_SUM if row.optimizer.startswith("dp") else ""
    case = f"{case}-gradients"
    return Counterpart(_cases(case), "magnitude_ratio", tolerance=_RATIO * row.value, caveat=caveat, note=_COUNTS_ROWS)


def _clusters_counterpart(row: PublishedNumber) -> Counterpart:
    return Counterpart(_cases(f"{_FASHION}-sota_40-vanilla-clusters"), "poison_rows", tolerance=0.5)


def _boundary_counterpart(row: PublishedNumber) -> Counterpart:
    case = f"two_moons-mlp-no_attack-{_defense(row)}-boundary"
    return Counterpart(_cases(case), "accuracy_clean", tolerance=_ACCURACY)


def _accuracies_counterpart(row: PublishedNumber) -> Counterpart:
    """Return the counterpart of a number on the accuracy on the training rows."""
    side = "poison" if "POISON" in row.note else "clean"
    case = f"{_FASHION}-{_ATTACKS[row.attack]}_{round(100 * float(row.intensity))}-vanilla-gradients"
    relation = "<" if "below" in row.note else ">"
    return Counterpart(_cases(case), f"train_accuracy_{side}", relation)


def _undefended_counterpart(row: PublishedNumber) -> Counterpart:
    """Return the counterpart of the bound on the accuracy of logistic regression without poison."""
    cases = _cases(*(f"{name}-lr-label_flip_10-vanilla" for name in ("fashion_mnist", "cifar10")))
    return Counterpart(cases, "accuracy_vanilla", "<")


# By the figure, table or section that states a number.
_EXPERIMENTS: Mapping[str, Callable[[PublishedNumber], Counterpart]] = {
    "fig4": _flips_counterpart,
    "fig5": _targets_counterpart,
    "fig6": _targets_counterpart,
    "fig7": _gradients_counterpart,
    "fig8": _clusters_counterpart,
    "fig10": _boundary_counterpart,
    "fig11": _accuracies_counterpart,
    "sec6.1": _undefended_counterpart,
    "table3": _targets_counterpart,
}
