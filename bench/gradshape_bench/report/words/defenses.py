"""Words for the labels of defences."""

from functools import cache

from gradshape_bench.report.words.family import Family, read

_SHARE = "{0} %"
_SHAPING = {
    "c#-layer": "clip to {0} per layer",
    "c#": "clip to {0}",
    "cinf": "no clipping",
    "n#-#": "normalize to {0} from {1}",
    "n#": "normalize to {0}",
    "q#-c#-r#": "clip at the {0} quantile from {1} at rate {2}",
    "q#-c#": "clip at the {0} quantile from {1}",
    "s#": "noise {0}",
    "a#": "adaptive noise {0}",
    "x#": "rate × {0}",
}
_KEPT = {"q#": "{0} % kept"}
# Where one prefix begins like another, the longer one is first.
_FAMILIES = (
    Family("vanilla", "no defence"),
    # The settings say what shaping is; most of the paper's models are trained by Adam.
    Family("dp_adam", "", _SHAPING),
    Family("dp_sgd", "SGD", _SHAPING),
    Family("sphere_slab", "sphere and slab filter", _KEPT),
    Family("oracle_sphere_slab", "oracle sphere and slab filter", _KEPT),
    Family("sphere", "sphere filter", amount=_SHARE),
    Family("slab", "slab filter", amount=_SHARE),
    Family("loss", "loss filter", {"d#": "decay {0}"}, _SHARE),
    Family("svd", "SVD filter", {"s#": "spectrum {0}"}, _SHARE),
    Family("knn", "nearest-neighbour filter", {"k#": "{0} neighbours"}, _SHARE),
    Family("deep_knn", "deep k-NN", {"k#": "{0} neighbours"}, _SHARE),
    Family("spectral", "spectral signatures", amount=_SHARE),
    Family("roni", "RONI"),
    Family("troni", "targeted RONI"),
    Family("trim", "TRIM", {"starts#": "{0} starts", "first#": "first {0} rows"}, _SHARE),
    Family("sever", "Sever", {"r#": "{0} rounds", "c#": "C = {0}"}, _SHARE),
    Family("perfect_filter", "perfect filter"),
    Family("random_filter", "random filter"),
)


@cache
def defense_words(label: str) -> str:
    """Return words for the label of a defence; the label itself if it has none.

    >>> defense_words("dp_adam_c4_s0.1_x2"), defense_words("sphere_slab_q70"), defense_words("mine_10")
    ('clip to 4, noise 0.1, rate × 2', 'sphere and slab filter, 70 % kept', 'mine_10')
    """
    phrase = read(label, _FAMILIES)
    return label if phrase is None or not phrase.parts else str(phrase)
