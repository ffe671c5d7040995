"""All kinds of pictures. Importing this module needs no matplotlib; drawing does."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gradshape_bench.records.record import Record
from gradshape_bench.report.plots.drawable import drawable

if TYPE_CHECKING:
    from gradshape_bench.report.plots.picture import Picture


class MissingMatplotlib(ImportError):
    """A picture cannot be drawn because matplotlib is not installed."""


@dataclass(frozen=True)
class PictureKind:
    """One kind of picture.

    Attributes:
        module: module of ``gradshape_bench.report.plots`` whose ``pictures(records)`` draws them.
        shows: what they show, with the paper's figure if there is one.
    """

    module: str
    shows: str


KINDS = (
    PictureKind("gradients_by_intensity", "gradients of poison against clean rows, by epoch and intensity (Fig. 1)"),
    PictureKind("sample_norms", "norms of single rows' gradients, and the ratio before clipping, by epoch"),
    PictureKind("examples", "poison of each attack, by intensity (Fig. 2)"),
    PictureKind("intensities", "damage over the attack's intensity, by defence (Fig. 4 a, b, d, e)"),
    PictureKind(
        "gradients_by_defense", "gradients of poison against clean rows, by epoch and defence (Fig. 4 c, f, Fig. 7)"
    ),
    PictureKind("targets_won", "targets won over clipping norm and noise (Fig. 5 and 6)"),
    PictureKind("scenarios", "targets won where only one of two trainings is defended (Table 3)"),
    PictureKind("poison_clusters", "poison among the clean rows in the plane of two principal components (Fig. 8)"),
    PictureKind("decision_regions", "regions in which models decide for a class (Fig. 10)"),
    PictureKind("training_accuracy", "training-time accuracy on clean rows and poison, by epoch (Fig. 11)"),
    PictureKind("privacy_tradeoff", "utility against privacy (Fig. 12)"),
    PictureKind("heat_map", "attacks against defences"),
)


def pictures(kind: PictureKind, records: Sequence[Record]) -> Iterator["Picture"]:
    """Draw the pictures of one kind; none if there are no records for it.

    Raises:
        MissingMatplotlib: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingMatplotlib(
            "pictures need matplotlib, which is not installed: pip install 'gradshape[plots]'"
        ) from error
    yield from import_module(f"gradshape_bench.report.plots.{kind.module}").pictures(records)


def write(
    records: Sequence[Record],
    folder: Path,
    *,
    tell: Callable[[str], None],
    formats: Sequence[str] = ("png", "svg"),
) -> dict[PictureKind, list[Path]]:
    """Draw all pictures. The same records give the same bytes, in any order.

    Args:
        records: one record for each case, in any order.
        folder: folder of the files, created if it is missing; files of the same names are replaced, others stay.
        tell: is told of every record that is left out, because a number of it is too large for an axis.
        formats: formats of the files of each picture.

    Returns:
        For each kind the files that were written; none if there are no records for it.

    Raises:
        MissingMatplotlib: matplotlib is not installed.
        OSError: a file cannot be written.
    """
    shown = drawable(records, tell)
    return {
        kind: [path for picture in pictures(kind, shown) for path in picture.save(folder, formats)] for kind in KINDS
    }
