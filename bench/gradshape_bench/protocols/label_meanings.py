"""The meanings of labels of protocols, as a reader of a report is told them."""

import re

from gradshape_bench.protocols.start import By

_MEANINGS = {
    "backdoor": "The poison is added to the training rows, the model is trained on both from a fresh state, and test "
    "rows with the attack's trigger are shown to it; its state is that of the epoch with the best accuracy.",
    "backdoor_last": "As backdoor, with the state after the last epoch.",
    "backdoor_retrained": "As backdoor, with training that goes on from the vanilla model trained on clean data; the "
    "clean model is trained as much further, without poison.",
    "backdoor_retrained_last": "As backdoor_retrained, with the state after the last epoch.",
    "boundary": "There is no poison: the model is trained on clean data with and without the defence, and the class of "
    "every point of a plane is looked at; the state is that of the epoch with the best accuracy.",
    "boundary_last": "As boundary, with the state after the last epoch.",
    "clusters": "Nothing is trained: the poison is looked at beside the clean rows.",
    "from_scratch": "The poison is added to the training rows, and the model is trained on both from a fresh state; "
    "accuracies are those of the best epoch.",
    "from_scratch_last": "As from_scratch, with the accuracies of the last epoch.",
    "retrain": "The vanilla model is trained on clean data, and its best state is trained further with the defence: on "
    "clean data, which is the clean model, and with the poison; accuracies are those of the best epoch.",
    "retrain_defended_to_defended": "As retrain, with a base model that is trained with the defence, too.",
    "retrain_defended_to_vanilla": "As retrain, with a base model that is trained with the defence, and without the "
    "defence afterwards.",
    "retrain_vanilla_to_vanilla": "As retrain, without the defence.",
    "retrain_last": "As retrain, with the accuracies of the last epoch.",
    "targeted": "For each of some test rows poison is crafted, and the model is trained on clean and poison rows; the "
    "attack succeeds where that row is misclassified after the last epoch.",
    "targeted_any": "As targeted, with what is misclassified after any epoch.",
    "utility": "There is no poison: the model is trained on clean data with and without the defence; accuracies are "
    "those of the best epoch.",
    "utility_last": "As utility, with the accuracies of the last epoch.",
}
_ON_TARGETS = {
    "one_shot": "For each target a base model is trained further with one poison row after another, until one makes it "
    "take the target for the intended class.",
    "multi_poison": "For each target a base model is trained further with the first poison row, the first two, and so "
    "on, until it takes the target for the intended class.",
    "gradients_one_shot": "For each target a base model is trained further with the first poison row, and the "
    "gradients of that row and of the clean rows of its batches are told apart: those of all parameters, means over "
    "the batches with poison.",
}
_LABEL_ON_TARGETS = re.compile(
    r"(?P<name>one_shot|multi_poison|gradients_one_shot)(?:_(?P<target>\d+)to(?P<intended>\d+))?"
    r"(?:_(?P<base>vanilla|defended)_to_(?P<again>vanilla|defended))?"
    r"(?P<afresh>_afresh)?(?P<last>_last_epoch)?(?:_rad(?P<allowed>[\d.e-]+))?"
)


_SCRATCH_TARGETS = re.compile(r"scratch_targets(?:_(?P<target>\d+)to(?P<intended>\d+))?(?P<any>_any_epoch)?")
_LABEL_OF_GRADIENTS = re.compile(
    r"gradients(?P<again>_retrained)?(?P<all>_all_layers)?(?P<means>_by_sample|_by_shared_batch)?(?P<bias>_with_bias)?"
)
_MEANS = {
    None: "means over batches",
    "_by_sample": "means over rows",
    "_by_shared_batch": "means over the batches that have rows of both",
}


def meaning(label: str) -> str | None:
    """Return what a reader of a report is told of the experiment with that label; ``None`` if it is unknown.

    >>> meaning("one_shot_3to4_afresh").split(". ")[1], meaning("mine")
    ('Targets are of class 3, to be taken for 4', None)
    """
    if label in _MEANINGS:
        return _MEANINGS[label]
    if label.startswith("worst_case"):
        inner = label.removeprefix("worst_case").removeprefix("_")
        inner = f"from_scratch_{inner}".removesuffix("_") if inner in ("", "last") else inner
        known = meaning(inner) is not None
        return f"As {inner}, for each of several attacks of one budget, of which the worst counts." if known else None
    if match := _LABEL_OF_GRADIENTS.fullmatch(label):
        return _of_gradients(match)
    if match := _SCRATCH_TARGETS.fullmatch(label):
        return _of_scratch_targets(match)
    match = _LABEL_ON_TARGETS.fullmatch(label)
    return None if match is None else _on_targets(match)


def _of_gradients(match: re.Match[str]) -> str:
    """Return the meaning of a label of :class:`~gradshape_bench.protocols.GradientDifferences`."""
    if match["again"] and match.end() == match.end("again"):
        return "As gradients, with training that goes on from the vanilla model trained on clean data."
    start = "from the vanilla model trained on clean data" if match["again"] else "from a fresh state"
    layers = "all layers' kernels" if match["all"] else "the last dense layer's kernel"
    bias = " and biases" if match["bias"] and match["all"] else " and bias" if match["bias"] else ""
    return (
        f"The poison is added to the training rows, the model is trained on both {start}, and the gradients of poison "
        f"and clean rows are told apart: those of {layers}{bias}, {_MEANS[match['means']]}."
    )


def _of_scratch_targets(match: re.Match[str]) -> str:
    """Return the meaning of a label of :class:`~gradshape_bench.protocols.ScratchTargets`."""
    return (
        "For each target a model is trained from a fresh state on clean rows and all of the target's poison rows, "
        f"which are crafted on networks that the attacker trains. {_classes(match)} "
        f"{'Any epoch counts.' if match['any'] else 'Only the last epoch counts.'}"
    )


def _classes(match: re.Match[str]) -> str:
    if match["target"]:
        return f"Targets are of class {match['target']}, to be taken for {match['intended']}."
    return "Targets are of any class, to be taken for the wrong class that is likeliest to logistic regression."


def _on_targets(match: re.Match[str]) -> str:
    """Return the meaning of a label of an experiment on single targets."""
    base, again = match["base"] or By.DEFENDED.value, match["again"] or By.DEFENDED.value
    sentences = [
        _ON_TARGETS[match["name"]],
        _classes(match),
        f"Both trainings are by the {base} recipe."
        if base == again
        else f"The base is trained by the {base} recipe and further by the {again} one.",
        "The optimizer of the further training begins afresh." if match["afresh"] else "",
        "Only the last epoch counts." if match["last"] else "Any epoch counts.",
        f"A success may cost a relative accuracy drop of {match['allowed']}." if match["allowed"] else "",
    ]
    return " ".join(sentence for sentence in sentences if sentence)
