"""Words for the labels in ids, for readers who do not know them: ``label_flip_40`` is ``random label flips, 40 %``.

A label of the user's own has no words here and stands for itself.
"""

from gradshape_bench.report.words.attacks import attack_phrase
from gradshape_bench.report.words.defenses import defense_words
from gradshape_bench.report.words.phrase import Phrase, common_words
from gradshape_bench.report.words.protocols import protocol_phrase, protocol_words
from gradshape_bench.report.words.tasks import dataset_words, model_words

__all__ = [
    "Phrase",
    "attack_phrase",
    "common_words",
    "dataset_words",
    "defense_words",
    "model_words",
    "protocol_phrase",
    "protocol_words",
]
