"""Experiments around an attack."""

# What a reader of a report is told, by label.
DEFINITIONS = {
    "from_scratch": "The poison is added to the training rows, and the model is trained on both from a fresh state; "
    "accuracies are those of the best epoch.",
    "from_scratch_last": "As from_scratch, with the accuracies of the last epoch.",
}
