"""The data sets that come with the library, one a module; importing a module registers its data sets."""

from gradshape.data._sets import (
    cifar10,  # noqa: F401
    diabetes,  # noqa: F401
    digits,  # noqa: F401
    fashion_mnist,  # noqa: F401
    location30,  # noqa: F401
    mail_counts,  # noqa: F401
    nuclei_area,  # noqa: F401
    purchase100,  # noqa: F401
    purchase_synthetic,  # noqa: F401
    spam_zipf,  # noqa: F401
    two_moons,  # noqa: F401
)
