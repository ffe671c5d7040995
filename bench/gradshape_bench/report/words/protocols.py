"""Words for the labels of protocols, short enough for a title."""

from dataclasses import replace
from functools import cache

from gradshape_bench.report.words.family import Family, read
from gradshape_bench.report.words.phrase import Phrase

_LAST = {"last": "last epoch"}
_START = {
    "vanilla_to_vanilla": "no training defended",
    "vanilla_to_defended": "only the re-training defended",
    "defended_to_vanilla": "only the base model defended",
    "defended_to_defended": "base model defended, too",
    "remembering": "optimizer kept",
    "afresh": "optimizer afresh",
}
_AIMED = {
    "#to#": "class {0} to be taken for {1}",
    **_START,
    "last_epoch": "last epoch",
    "rad#": "accuracy may drop by {0}",
}
_GRADIENTS = {
    "retrained": "re-trained",
    "all_layers": "all layers",
    "by_sample": "means over rows",
    "by_shared_batch": "batches with both",
    "with_bias": "with biases",
    **_START,
}
# Where one prefix begins like another, the longer one is first.
_FAMILIES = (
    Family("from_scratch", "trained from scratch", _LAST),
    Family("retrain", "re-trained", {**_START, **_LAST}),
    Family("backdoor_retrained", "back door, re-trained", {**_START, **_LAST}),
    Family("backdoor", "back door, trained from scratch", _LAST),
    Family("boundary", "clean data", _LAST),
    Family("clusters", "before any training"),
    Family("utility", "clean data", _LAST),
    Family("targeted", "one target at a time", {"any": "any epoch"}),
    Family("one_shot", "one poison row at a time", _AIMED),
    Family("multi_poison", "one poison row more at a time", _AIMED),
    Family("gradients_one_shot", "one poison row in re-training", _AIMED),
    Family("gradients", "while training", _GRADIENTS),
)


@cache
def protocol_phrase(label: str) -> Phrase:
    """Return words for the label of a protocol; the label itself if it has none.

    >>> str(protocol_phrase("one_shot_3to4_vanilla_to_defended")), str(protocol_phrase("mine"))
    ('one poison row at a time, class 3 to be taken for 4, only the re-training defended', 'mine')
    """
    inner, of = label, ""
    if label.startswith("worst_case"):
        rest = label.removeprefix("worst_case").removeprefix("_")
        inner, of = (f"from_scratch_{rest}".removesuffix("_") if rest in ("", "last") else rest), "worst attack: "
    phrase = read(inner, _FAMILIES)
    return Phrase(label) if phrase is None else replace(phrase, subject=f"{of}{phrase.subject}")


def protocol_words(label: str) -> str:
    """Return those words as one text."""
    return str(protocol_phrase(label))
