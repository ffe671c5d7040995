"""Threat models, what an attack knows and can do: the columns of the paper's Table 1."""

from dataclasses import KW_ONLY, dataclass, replace
from enum import Enum


class Goal(Enum):
    """What the attacker wants."""

    INDISCRIMINATE = "indiscriminate"
    TARGETED = "targeted"


class Knowledge(Enum):
    """What the attacker knows of one part of the learner."""

    NONE = "black-box"
    FULL = "white-box"
    EITHER = "both"

    @property
    def granted(self) -> bool:
        """Whether the attack may look at that part."""
        return self is not Knowledge.NONE


class Injection(Enum):
    """When poison enters the training data."""

    FROM_SCRATCH = "from scratch"
    RETRAINING = "re-training"
    EITHER = "from scratch or re-training"


class Mechanism(Enum):
    """How poison moves the gradients (the paper's sections 2.1.1 and 3)."""

    COLLISION = "feature collision"
    INSERTION = "feature insertion"
    BOTH = "feature collision and insertion"
    NONE = "-"


@dataclass(frozen=True)
class ThreatModel:
    """One row of Table 1 of Hong et al. 2020.

    Attributes:
        goal: indiscriminate or targeted.
        training_data, features, algorithm, parameters: knowledge of the training rows, the features that the victim
            uses, its learning algorithm and its trained parameters.
        multiple_poisons: whether more than one poison is added (``M.``), else a single one (``S.``).
        injection: when.
        binary, multiclass, regression: tasks it applies to.
        victims: models it was made for.
        mechanism: how it works on the gradients.
        magnitude, orientation: expected differences between poison and clean gradients.
        source: where the attack is published.
    """

    _: KW_ONLY
    goal: Goal
    training_data: Knowledge
    features: Knowledge
    algorithm: Knowledge
    parameters: Knowledge
    multiple_poisons: bool
    injection: Injection
    binary: bool
    multiclass: bool
    victims: str
    mechanism: Mechanism
    magnitude: str
    orientation: str
    source: str
    regression: bool = False

    def refuses(self, num_classes: int) -> str | None:
        """Return why it does not apply to a task of so many classes (0: regression), or ``None`` if it does.

        >>> ON_SVM.refuses(10)
        'it attacks binary tasks, and this one has 10 classes'
        """
        if num_classes == 0:
            return None if self.regression else "it attacks classifiers, and this is a regression task"
        if not (self.binary or self.multiclass):
            return f"it attacks regression tasks, and this one has {num_classes} classes"
        if num_classes == 2 and not self.binary:
            return "it attacks tasks with more than two classes, and this one has 2"
        if num_classes > 2 and not self.multiclass:
            return f"it attacks binary tasks, and this one has {num_classes} classes"
        return None


# Presets: an attack says with ``dataclasses.replace`` where it is published and what is different for it.

# Knows rows and learner, and adds rows that collide with clean ones.
WHITE_BOX = ThreatModel(
    goal=Goal.INDISCRIMINATE,
    training_data=Knowledge.FULL,
    features=Knowledge.FULL,
    algorithm=Knowledge.FULL,
    parameters=Knowledge.FULL,
    multiple_poisons=True,
    injection=Injection.FROM_SCRATCH,
    binary=True,
    multiclass=True,
    victims="any",
    mechanism=Mechanism.COLLISION,
    magnitude="High",
    orientation="High",
    source="-",
)
# The same against support vector machines of two classes.
ON_SVM = replace(WHITE_BOX, multiclass=False, victims="SVM")
# Knows the rows, and nothing of the learner.
BLACK_BOX = replace(WHITE_BOX, algorithm=Knowledge.NONE, parameters=Knowledge.NONE)
# The same against linear regression.
ON_REGRESSION = replace(BLACK_BOX, binary=False, multiclass=False, victims="linear regression", regression=True)
# After single test rows, with the network that they are shown to and without the rows that it was trained on.
ON_TARGETS = replace(
    WHITE_BOX,
    goal=Goal.TARGETED,
    training_data=Knowledge.NONE,
    injection=Injection.EITHER,
    victims="DNN",
    mechanism=Mechanism.BOTH,
    orientation="Unstable when re-training, high from scratch",
)
