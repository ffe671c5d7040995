"""Words for the labels of data sets and models."""

import re

_DATASETS = {
    "cifar10": "CIFAR-10",
    "diabetes": "diabetes progression",
    "digits": "ten digits",
    "digits_38": "digits, 3 against 8",
    "fashion_mnist": "Fashion-MNIST",
    "fashion_mnist_34": "Fashion-MNIST, dress against coat",
    "location30": "Location-30",
    "mail_counts": "mail, word counts",
    "nuclei_area": "area of cell nuclei",
    "purchase100": "Purchase-100",
    "purchase100_top": "Purchase-100, its largest classes",
    "purchase_synthetic": "stand-in for Purchase-100",
    "spam_zipf": "mail, words present or not",
    "two_moons": "two moons",
}
_PAIR = re.compile(r"(?P<base>.+)_(?P<first>\d)(?P<second>\d)")
_MODELS = {
    "cnn": "CNN",
    "cnn_brief": "CNN, trained briefly",
    "cnn_dropout": "CNN with dropout",
    "dp_logistic_objective": "private logistic regression by objective perturbation",
    "dp_ridge_output": "private ridge regression by output perturbation",
    "lasso": "lasso",
    "linear": "linear regression",
    "logistic": "logistic regression by scikit-learn",
    "lr": "logistic regression",
    "mlp": "two-layer MLP",
    "mlp1": "one-layer MLP",
    "naive_bayes": "naive Bayes",
    "ridge": "ridge regression",
    "spambayes": "SpamBayes",
    "svm_linear": "linear SVM",
    "svm_rbf": "SVM with an RBF kernel",
}


def dataset_words(label: str) -> str:
    """Return words for the label of a data set; the label itself if it has none.

    >>> dataset_words("fashion_mnist_34"), dataset_words("location30_01"), dataset_words("mine")
    ('Fashion-MNIST, dress against coat', 'Location-30, class 0 against 1', 'mine')
    """
    pair = _PAIR.fullmatch(label)
    if label not in _DATASETS and pair is not None and pair["base"] in _DATASETS:
        return f"{_DATASETS[pair['base']]}, class {pair['first']} against {pair['second']}"
    return _DATASETS.get(label, label)


def model_words(label: str) -> str:
    """Return words for the label of a model; the label itself if it has none.

    >>> model_words("lr"), model_words("mine")
    ('logistic regression', 'mine')
    """
    return _MODELS.get(label, label)
