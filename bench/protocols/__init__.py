"""Experiments around an attack."""

# What a reader of a report is told, by label.
DEFINITIONS = {
    "from_scratch": "The poison is added to the training rows, and the model is trained on both from a fresh state; "
    "accuracies are those of the best epoch.",
    "from_scratch_last": "As from_scratch, with the accuracies of the last epoch.",
    "utility": "There is no poison: the model is trained on clean data with and without the defence; accuracies are "
    "those of the best epoch.",
    "utility_last": "As utility, with the accuracies of the last epoch.",
}
