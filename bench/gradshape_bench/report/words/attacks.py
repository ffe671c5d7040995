"""Words for the labels of attacks."""

from functools import cache

from gradshape_bench.report.words.family import Family, read
from gradshape_bench.report.words.phrase import Phrase
from gradshape_bench.report.words.tasks import model_words

_SHARE, _CANDIDATES, _ROWS = "{0} %", "{0} candidates", "{0} rows"


def _networks(names: str) -> str:
    return " and ".join(f"a {model_words(name)}" for name in names.split("-"))


_AS_HAM = {"as0": "labelled as ham"}
_STEINHARDT = {"clipped": "clipped to the data's range", "q#": "sets of {0} %", "r#": "weights within ‖w‖² ≤ {0}"}
_LEARNERS = {
    "deep": "rows chosen deeply",
    "ridge": "ridge regression",
    "gamma": "gamma noise",
    "gaussian": "Gaussian noise",
    "eps#": "ε = {0}",
    "label_aversion": "against the labels",
    "label_target": "for opposite labels",
    "parameter_target": "for given parameters",
}
_POLYTOPE = {"eps#": "within {0}", "steps#": "{0} steps", "lr#": "rate {0}", "*": "crafted on {0}"}
_FROGS = {
    "linf#": "within {0}/255",
    "beta#": "β = {0}",
    "o#": "watermark of {0}",
    "within#": "within {0}",
    "withininf": "any class at any distance",
    "steps#": "{0} steps",
    "tol#": "tolerance {0}",
}
_STINGRAY = {
    "f#": "{0} features",
    "nudge": "nudged pixels",
    "share#": "{0} % of the pixels",
    "step#": "by {0}",
    "near#": "from {0} neighbours",
    "known#": "{0} % of the features known",
    "untested": "harm untested",
    "harm#": "harm up to {0}",
    "tries#": "{0} tries",
    "by-*": "tested on {0}",
}
# Where one prefix begins like another, the longer one is first.
_FAMILIES = (
    Family("no_attack", "no poison"),
    Family("label_flip", "random label flips", {"koh#": "inside the filters at {0} %"}, _SHARE),
    Family("sota", "data-dependent Steinhardt", {"boxed": "inside the data's range"}, _SHARE),
    Family("steinhardt", "Steinhardt", _STEINHARDT, _SHARE),
    Family("back_gradient", "back-gradient", {"adaline": "on Adaline", "mlp": "on a small network"}, _SHARE),
    Family("svm_ascent", "SVM ascent", {"rbf#": "RBF kernel, γ = {0}", "rbf": "RBF kernel"}, _SHARE),
    Family(
        "label_contamination",
        "label contamination",
        {
            "squared": "squared loss",
            "hinge": "hinge loss",
            "margin": "relaxed by margins",
            "integrity#": "for a model turned by {0}°",
        },
        _SHARE,
    ),
    Family("koh_influence", "Koh's influence attack", amount=_SHARE),
    Family("koh_kkt", "Koh's KKT attack", amount=_SHARE),
    Family("koh_min_max", "Koh's min-max attack", amount=_SHARE),
    Family(
        "optp",
        "OptP",
        {
            "validation": "by validation error",
            "distance": "by distance",
            "inverse": "from inverse flips",
            "leverage": "from rows of high leverage",
            "rows": "values kept",
        },
        _SHARE,
    ),
    Family("statp", "StatP", amount=_SHARE),
    Family("sever_pairs", "Sever's pairs", amount=_SHARE),
    Family("dpv", "attack on private learners", _LEARNERS, _SHARE),
    Family("sv", "attack on private learners, noise neglected", _LEARNERS, _SHARE),
    Family("watermark", "watermark", {"#on#": "class {0} on {1}", "a#": "opacity {0}", "#rows": _ROWS}, _SHARE),
    Family("badnets", "BadNets patch", {"to#": "claims class {0}", "s#": "{0} × {0} pixels"}, _SHARE),
    Family("poison_frogs", "Poison Frogs", _FROGS, _CANDIDATES),
    Family("stingray", "StingRay", _STINGRAY, _CANDIDATES, named=_networks),
    Family("convex_polytope", "Convex Polytope", _POLYTOPE, _ROWS, named=_networks),
    Family("bullseye_polytope", "Bullseye Polytope", _POLYTOPE, _ROWS, named=_networks),
    Family("dictionary", "dictionary attack", {"top#": "the {0} % most frequent words", **_AS_HAM}, _SHARE),
    Family(
        "focused",
        "focused attack",
        {"known#": "{0} % of the words known", "header#": "{0} % of the header known", **_AS_HAM},
        _SHARE,
    ),
    Family("worst_of", "worst attack", {"#": "of {0}"}, _SHARE),
)


@cache
def attack_phrase(label: str) -> Phrase:
    """Return words for the label of an attack, with percentages of the clean training rows; the label itself if it has
    none.

    >>> str(attack_phrase("watermark_4on3_a0.1_100rows")), str(attack_phrase("mine_10"))
    ('watermark, class 4 on 3, opacity 0.1, 100 rows', 'mine_10')
    """
    return read(label, _FAMILIES) or Phrase(label)
