"""Where poison lies among the clean rows; nothing is trained."""

from dataclasses import dataclass
from typing import Any

import torch

from gradshape import _seeds, _validate
from gradshape.analysis import ClusterMap, cluster_map
from gradshape.attacks import Attack, PoisonSet
from gradshape.data import Dataset
from gradshape.metrics import mean_over_seeds, share_over_seeds
from gradshape.training import AnyRecipe
from gradshape.unsuitable import Unsuitable
from gradshape_bench.protocols.base import Experiment, Measurement, Subject
from gradshape_bench.protocols.lab import Lab
from gradshape_bench.protocols.refusal import aims_at_targets
from gradshape_bench.protocols.snapshot import snapshot

# Of the points and the poisons, as many as a picture can show.
_POINTS = 400
_KINDS = 4


@dataclass(frozen=True)
class Clusters:
    """Principal components and k-means of clean rows and poison together.

    Args:
        clusters: number of k-means clusters.

    Raises:
        ValueError: ``clusters`` is not positive.

    Hong et al. 2020, section 7.1, Fig. 8.
    """

    clusters: int = 4

    def __post_init__(self) -> None:
        _validate.positive_int(clusters=self.clusters)

    @property
    def label(self) -> str:
        return "clusters"

    def refuses(self, attack: Attack, recipe: AnyRecipe) -> str | None:
        """Return why the attack is none for it: it has no targets."""
        return aims_at_targets(attack, self.label)

    def run(self, case: Subject, lab: Lab) -> Experiment:
        """Run the experiment of one case.

        Raises:
            ValueError: the attack adds no poison.
        """
        dataset = lab.dataset
        poisons = yield from lab.ask(lab.craft(case.attack, case.vanilla))
        if not all(map(len, poisons)):
            raise Unsuitable(f"attack {case.attack.label!r} adds no poison: expected at least 1 row to look at")
        found = [
            cluster_map(dataset.train, poison.rows, clusters=self.clusters, seed=seed)
            for seed, poison in zip(case.seeds, poisons, strict=True)
        ]
        kinds = [_kinds(poison) for poison in poisons]
        metrics = {
            "cluster_purity": share_over_seeds([one.purity for one in found]),
            "remoteness": mean_over_seeds([float(one.remoteness.mean()) for one in found]),
            "distinct_poisons": mean_over_seeds([float(len(counts)) for _, counts in kinds]),
        }
        details = {
            "train_rows": len(dataset.train),
            "budget": case.attack.budget(len(dataset.train)),
            "poison_rows": [len(poison) for poison in poisons],
            "picture": _picture(dataset, poisons[0], found[0], *kinds[0], seed=case.seeds[0]),
        }
        return Measurement(metrics, details, {"crafting": poisons.jobs})


def _kinds(poison: PoisonSet) -> tuple[torch.Tensor, torch.Tensor]:
    """Return where each distinct poison row first occurs, the most frequent first, and how often it occurs."""
    rows = torch.cat([poison.x.flatten(1), poison.y.unsqueeze(1).float()], dim=1)
    _, inverse, counts = rows.unique(dim=0, return_inverse=True, return_counts=True)
    first = torch.full((len(counts),), len(rows)).scatter_reduce_(0, inverse, torch.arange(len(rows)), "amin")
    order = counts.argsort(descending=True, stable=True)
    return first[order], counts[order]


def _picture(
    dataset: Dataset, poison: PoisonSet, found: ClusterMap, first: torch.Tensor, counts: torch.Tensor, *, seed: int
) -> dict[str, Any]:
    """Return what a plot needs, as plain values: some points of the plane, and the most frequent poison rows."""
    clean = torch.randperm(len(found.clean), generator=_seeds.stream(seed, "picture"))[:_POINTS].sort().values
    shown = first[:_POINTS]
    return {
        "explained": [round(share, 4) for share in found.explained],
        "clean": _points(found.clean[clean], dataset.train.y[clean], found.clean_clusters[clean]),
        "poison": _points(found.poison[shown], poison.y[shown], found.poison_clusters[shown]),
        "poison_counts": counts[:_POINTS].tolist(),
        "kinds": [
            snapshot(poison, row) | {"count": int(count)}
            for row, count in zip(first[:_KINDS].tolist(), counts[:_KINDS].tolist(), strict=True)
        ],
    }


def _points(points: torch.Tensor, labels: torch.Tensor, clusters: torch.Tensor) -> list[list[float]]:
    """Return ``[x, y, label, cluster]`` of each point."""
    return [
        [round(x, 3), round(y, 3), label, cluster]
        for (x, y), label, cluster in zip(points.tolist(), labels.tolist(), clusters.tolist(), strict=True)
    ]
