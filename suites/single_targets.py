"""What the suites on single targets share: tasks, the paper's DP optimizers, and how base models are trained further.

Every success rate stands beside its control: as many re-trainings with the clean rows that the poison was made from.
"""

from dataclasses import replace

from gradshape.defenses import Defense, GradientShaping, NoDefense
from gradshape.shaping import Clip, Noise
from gradshape.training import Adam, Recipe
from gradshape_bench import ExpectedFailure, Scale, Sized, Smoke, Task, Threshold
from gradshape_bench.protocols import PAPERS_START, By, MultiPoison, OneShot, Retrained
from gradshape_bench.targets import Targets
from suites.tasks import RECORDS_LR, RECORDS_MLP

SMOKE, PAPER = [Scale.SMOKE], [Scale.PAPER]
NORMS = (8, 4, 2, 1, 0.1)
STDS = (0.001, 0.01, 0.1, 0.4, 0.8, 1, 2, 4)


def shaped(norm: float, std: float = 0) -> Defense:
    """The paper's DP optimizers, which have twice the undefended learning rate."""
    return GradientShaping(Clip(norm) | Noise(std) if std else Clip(norm), rate=2)


UNDEFENDED: list[Defense] = [NoDefense()]
CLIPPED = [shaped(norm) for norm in NORMS]
NOISY = [shaped(4, std) for std in STDS]

# The recipes are those of the released code; Location-30 has the form of Purchase-100 and is trained like it.
DIGITS_LR = Task("digits", Recipe("lr", Adam(0.01), batch_size=50, epochs=40), Smoke(epochs=10))
DIGITS_MLP = Task("digits", Recipe("mlp", Adam(0.002), batch_size=50, epochs=40), Smoke(epochs=5))
STAND_IN = Task("purchase_synthetic", RECORDS_LR, Smoke(train_rows=4000, epochs=5))
STAND_IN_MLP = Task("purchase_synthetic", RECORDS_MLP)
REAL = Task("purchase100", RECORDS_LR)
REAL_MLP = Task("purchase100", RECORDS_MLP)
PLACES = Task("location30", RECORDS_LR, Smoke(epochs=10))
# The paper's data is there at its own scale only.
WITH_REAL = Sized(smoke=[STAND_IN], paper=[STAND_IN, REAL])


def retraining(epochs: int, base: By = By.DEFENDED, again: By = By.DEFENDED) -> Retrained:
    """The paper's re-training: the optimizer goes on where it was."""
    return replace(PAPERS_START, epochs=epochs, base=base, again=again)


# Of each seed, so that there are at least 24 targets in all.
FEW = Targets(8)
ONE_FEW = OneShot(FEW, retraining(8))
MANY_FEW = MultiPoison(FEW, retraining(8))
# What takes hours with 100 targets has as many as two processors manage in minutes. Where no pair is given, the
# intended class is the nearest wrong one, which is easier than the paper's pair.
ONE_NEAREST = OneShot(Targets(24), retraining(50))
MANY_PAIR = MultiPoison(Targets(20, (3, 4)), retraining(50))
ONE = Sized(smoke=ONE_FEW, paper=ONE_NEAREST)
MANY = Sized(smoke=MANY_FEW, paper=MANY_PAIR)

# The paper's "by half": about half of what is reached without a defence; and its bound on what a defence may cost.
HOLDS = [Threshold("success_rate", "<", 0.25), Threshold("utility_loss", "<", 0.10)]
CHEAP = [Threshold("utility_loss", "<", 0.10)]

UNMOVED = ExpectedFailure(
    "one row whose logits collide with the target's turns logistic regression on these sets whatever is done to its "
    "gradient: Adam cancels the common scale that clipping leaves. On the stand-in for Purchase-100 noise up to a "
    "standard deviation of 1 leaves all of the attack's success, beside half of it for clean rows in the poison's "
    "place, and costs 0.16 of the accuracy; on Location-30 noise from 0.4 on leaves little more than clean rows flip "
    "there, so that what is counted is the noise's doing",
    "measured here, beside controls; Hong et al. 2020, section 6.3, have 0.09 at C = 0.1 on Purchase-100",
)
