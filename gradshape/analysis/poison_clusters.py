"""Where poison lies among the clean rows: its principal components, its clusters and its distance from its class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gradshape import _validate
from gradshape.data import Split


@dataclass(frozen=True, eq=False)
class ClusterMap:
    """Clean rows and poison in the plane of their first two principal components, with their clusters.

    Attributes:
        clean: ``(N, 2)`` float64 coordinates of the clean rows.
        poison: ``(n, 2)`` float64 coordinates of the poison rows.
        explained: the shares of the variance along the two axes, in [0, 1].
        clean_clusters, poison_clusters: ``(N,)`` and ``(n,)`` int64, the k-means cluster of each row in the plane.
        purity: the share of the poison that lies in clusters in which it is the majority, in [0, 1].
        remoteness: ``(n,)`` distance of each poison row, in the space of the inputs, from the clean centroid of the
            class that it claims, divided by the mean such distance of that class' clean rows. About 1 is inconspicuous.
    """

    clean: Tensor
    poison: Tensor
    explained: tuple[float, float]
    clean_clusters: Tensor
    poison_clusters: Tensor
    purity: float
    remoteness: Tensor


def cluster_map(clean: Split, poison: Split, *, clusters: int = 4, seed: int = 0) -> ClusterMap:
    """Project clean rows and poison together to two principal components and cluster them there by k-means.

    Args:
        clean, poison: labelled rows of a classification task, at least 1 each, of one shape with at least 2 values.
        clusters: number of k-means clusters, at most the number of rows.
        seed: seed of the starts of k-means.

    Raises:
        ValueError: a number is out of range, there is no row of one kind, or a poison row claims a class that no clean
            row has.

    Hong et al. 2020, section 7.1, Fig. 8.

    >>> rows = Split(torch.tensor([[0.0, 0.0], [0.1, 0.0], [0.0, 0.1]]), torch.zeros(3, dtype=torch.int64))
    >>> far = Split(torch.tensor([[1.0, 1.0]]), torch.zeros(1, dtype=torch.int64))
    >>> found = cluster_map(rows, far, clusters=2)
    >>> found.purity, bool(found.remoteness[0] > 10)
    (1.0, True)
    """
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA

    _validate.positive_int(clusters=clusters)
    rows, added = clean.x.flatten(1).double(), poison.x.flatten(1).double()
    if not len(rows) or not len(added):
        raise ValueError(f"{len(rows)} clean and {len(added)} poison rows: expected at least 1 of each")
    if clusters > len(rows) + len(added):
        raise ValueError(f"clusters={clusters!r}: expected at most the number of rows, {len(rows) + len(added)}")
    if rows.shape[1] < 2:
        raise ValueError(f"rows have {rows.shape[1]} value: expected at least 2 to project to a plane")
    together = torch.cat([rows, added]).numpy()
    pca = PCA(n_components=2, svd_solver="covariance_eigh")
    plane = pca.fit_transform(together)
    labels = torch.from_numpy(KMeans(clusters, n_init=4, random_state=seed).fit_predict(plane)).long()
    clean_clusters, poison_clusters = labels[: len(rows)], labels[len(rows) :]
    counts = [torch.bincount(part, minlength=clusters) for part in (clean_clusters, poison_clusters)]
    purity = float((counts[1] > counts[0])[poison_clusters].double().mean())
    points = torch.from_numpy(plane)
    explained = tuple(float(share) for share in pca.explained_variance_ratio_)
    return ClusterMap(
        points[: len(rows)],
        points[len(rows) :],
        (explained[0], explained[1]),
        clean_clusters,
        poison_clusters,
        purity,
        _remoteness(rows, clean.y, added, poison.y),
    )


def _remoteness(rows: Tensor, y: Tensor, added: Tensor, claimed: Tensor) -> Tensor:
    found = torch.empty(len(added), dtype=torch.float64)
    for label in claimed.unique().tolist():
        own = rows[y == label]
        if not len(own):
            raise ValueError(f"poison claims class {label}: expected a class of the clean rows")
        centre = own.mean(0)
        usual = (own - centre).norm(dim=1).mean().clamp_min(torch.finfo(torch.float64).tiny)
        found[claimed == label] = (added[claimed == label] - centre).norm(dim=1) / usual
    return found
