"""The definitions of the metrics in a record."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """The definition of a metric.

    Attributes:
        name: key of the metric in a record.
        definition: the definition, in one or more sentences.
        lower_is_better: whether a lower value is better for the defender.
    """

    name: str
    definition: str
    lower_is_better: bool


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "rad",
            "Relative accuracy drop of the poisoned model against the clean model of the same recipe and seed: "
            "what the poison did.",
            lower_is_better=True,
        ),
        Metric(
            "utility_loss",
            "Relative accuracy drop of the defended clean model against the vanilla clean model of the same seed: "
            "what the defence costs.",
            lower_is_better=True,
        ),
        Metric(
            "rad_vs_vanilla",
            "Relative accuracy drop of the poisoned defended model against the vanilla clean model of the same seed: "
            "the curve of the paper's Fig. 4.",
            lower_is_better=True,
        ),
        Metric(
            "rad_trusted",
            "Relative accuracy drop of a vanilla model that is trained on nothing but the clean rows that the defence "
            "trusts, against the vanilla clean model of the same seed. A defence whose rad_vs_vanilla is not lower has "
            "no use for the other rows.",
            lower_is_better=True,
        ),
        Metric("accuracy_trusted", "Test accuracy of that model.", lower_is_better=False),
        Metric(
            "mse_ratio",
            "Mean squared test error of the poisoned model over that of the clean model of the same recipe and seed: "
            "what the poison did; 1 is nothing.",
            lower_is_better=True,
        ),
        Metric(
            "mse_ratio_utility",
            "Mean squared test error of the defended clean model over that of the vanilla clean model: what the "
            "defence costs; 1 is nothing.",
            lower_is_better=True,
        ),
        Metric(
            "mse_ratio_vs_vanilla",
            "Mean squared test error of the poisoned defended model over that of the vanilla clean model.",
            lower_is_better=True,
        ),
        Metric(
            "mse_clean", "Mean squared test error of the defended model fitted on clean data.", lower_is_better=True
        ),
        Metric(
            "mse_poisoned", "Mean squared test error of the defended model fitted with poison.", lower_is_better=True
        ),
        Metric(
            "mse_vanilla", "Mean squared test error of the vanilla model fitted on clean data.", lower_is_better=True
        ),
        Metric(
            "cluster_purity",
            "Share of the poison that lies in clusters of which it is the majority, among k-means clusters of clean "
            "rows and poison in the plane of their two main components, in [0, 1].",
            lower_is_better=False,
        ),
        Metric(
            "remoteness",
            "Mean distance of the poison from the clean centroid of the class that it claims, over the mean distance "
            "of that class' clean rows; about 1 is inconspicuous.",
            lower_is_better=False,
        ),
        Metric("distinct_poisons", "Number of different poison rows.", lower_is_better=False),
        Metric(
            "magnitude_ratio",
            "Norm of the poison's mean gradient over that of the clean rows, before noise: mean "
            "over the epochs. Near convergence it is the number of clean rows over that of poison, whatever that is.",
            lower_is_better=True,
        ),
        Metric(
            "cosine_similarity",
            "Cosine of the angle between the mean gradients of poison and clean rows: mean over the epochs.",
            lower_is_better=False,
        ),
        Metric("cosine_similarity_spread", "Standard deviation of that cosine over the epochs.", lower_is_better=True),
        Metric("magnitude_ratio_raw", "As magnitude_ratio, of gradients before clipping.", lower_is_better=True),
        Metric("cosine_similarity_raw", "As cosine_similarity, of gradients before clipping.", lower_is_better=False),
        Metric(
            "placebo_magnitude_ratio",
            "As magnitude_ratio, of as many clean rows drawn at random against all other rows: what the statistic says "
            "of rows that are nothing special.",
            lower_is_better=True,
        ),
        Metric("placebo_cosine_similarity", "As cosine_similarity, of that placebo.", lower_is_better=False),
        Metric(
            "sample_norm_clean",
            "Mean norm of a clean row's gradient, over all layers and before clipping: mean over the epochs.",
            lower_is_better=False,
        ),
        Metric("sample_norm_poison", "The same of a poison row's gradient.", lower_is_better=True),
        Metric(
            "train_accuracy_clean",
            "Share of the clean training rows classified correctly: mean over the epochs.",
            lower_is_better=False,
        ),
        Metric(
            "train_accuracy_poison",
            "Share of the poison rows classified as they are labelled: mean over the epochs.",
            lower_is_better=True,
        ),
        Metric(
            "success_rate",
            "Share of the targets that the attack won, among those that the clean model classifies correctly, in "
            "[0, 1]. By the protocol targeted, the poisoned model misclassifies a target that is won. By one_shot and "
            "multi_poison, a model re-trained with poison takes it for the class that the attack wants, and its "
            "accuracy is at most 5 % below that of its own base model, if the protocol does not say otherwise; only "
            "targets count for which there is poison within the distance that the attack allows.",
            lower_is_better=True,
        ),
        Metric(
            "success_rate_raw",
            "As success_rate, whatever became of the re-trained model's accuracy.",
            lower_is_better=True,
        ),
        Metric(
            "success_rate_control",
            "As success_rate, with the clean rows that the poison was made from in its place, unchanged: what "
            "re-training alone does, with as many chances for each target as the attack has.",
            lower_is_better=True,
        ),
        Metric(
            "success_rate_control_raw",
            "As success_rate_control, whatever became of the re-trained model's accuracy.",
            lower_is_better=True,
        ),
        Metric(
            "poisons_needed",
            "Smallest number of the attack's poison rows that won a target, at least 1: mean over the targets won. "
            "Those that were not won have no such number, so compare it only where success rates are alike.",
            lower_is_better=False,
        ),
        Metric(
            "rad_of_runs",
            "Relative accuracy drop of a re-trained model, at the epoch that decides its success, against its own base "
            "model: mean over the re-trainings with poison.",
            lower_is_better=True,
        ),
        Metric(
            "backdoor_rate",
            "Share of the test rows with the attack's trigger, none of which is of the class that it claims, that the "
            "poisoned model takes for that class, in [0, 1].",
            lower_is_better=True,
        ),
        Metric(
            "backdoor_rate_clean", "The same of the clean model: what the trigger alone does.", lower_is_better=True
        ),
        Metric(
            "boundary_length",
            "Length of the boundary between the classes of the defended model trained on clean data, along the sides "
            "of a grid's cells, in sides of the square that the data lie in.",
            lower_is_better=True,
        ),
        Metric("boundary_length_vanilla", "The same of the vanilla model.", lower_is_better=True),
        Metric(
            "uncertain_area",
            "Share of that square in which the defended model gives its class a probability below 0.9, in [0, 1].",
            lower_is_better=True,
        ),
        Metric("uncertain_area_vanilla", "The same of the vanilla model.", lower_is_better=True),
        Metric(
            "poison_removed", "Share of the poison rows that the defence left out, in [0, 1].", lower_is_better=False
        ),
        Metric("clean_removed", "Share of the clean rows that the defence left out, in [0, 1].", lower_is_better=True),
        Metric(
            "certified_bound",
            "Upper bound on the training objective that any attack inside the filter can force, proved by the attack's "
            "dual; a case in which more was reached fails.",
            lower_is_better=True,
        ),
        Metric(
            "objective_reached",
            "Training objective on clean and poison rows of the learner that the certificate speaks of.",
            lower_is_better=True,
        ),
        Metric("accuracy_clean", "Test accuracy of the defended model trained on clean data.", lower_is_better=False),
        Metric("accuracy_poisoned", "Test accuracy of the defended model trained with poison.", lower_is_better=False),
        Metric(
            "accuracy_base",
            "Test accuracy of the base model, trained on clean data, which is trained further.",
            lower_is_better=False,
        ),
        Metric("accuracy_vanilla", "Test accuracy of the vanilla model trained on clean data.", lower_is_better=False),
    )
}


def arrow(metric: str) -> str:
    """Return the sign that says which direction is better; empty for a metric that nobody defines.

    >>> arrow("rad"), arrow("accuracy_clean")
    ('↓', '↑')
    """
    known = METRICS.get(metric)
    return "" if known is None else "↓" if known.lower_is_better else "↑"
