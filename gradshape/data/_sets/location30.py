"""Location-30 (Shokri et al. 2017): which places of Bangkok a person has visited, in 30 clusters of people."""

from pathlib import Path

from gradshape.data._files import read_members
from gradshape.data._formats import binary_table, shuffled, table_bytes
from gradshape.data.source import PublishedFile, RawSplit, Source, register

_ARCHIVE = "dataset_location.tgz"
_MEMBER = "bangkok"


def read(folder: Path, *, rows: int = 5_010, features: int = 446, train: int = 4_008) -> tuple[RawSplit, RawSplit]:
    """Read the records in a fixed random order: ``train`` of ``rows`` to train on, the rest to test on."""
    path = folder / _ARCHIVE
    most = table_bytes(features=features, rows=rows)
    text = read_members(path, (_MEMBER,), f"a .tgz with a table {_MEMBER!r}", most=most)[_MEMBER]
    x, y = binary_table(path, text, features=features, classes=30, rows=rows)
    order = shuffled(rows, seed=30)
    return RawSplit(x[order[:train]], y[order[:train]]), RawSplit(x[order[train:]], y[order[train:]])


LOCATION30 = register(
    Source(
        name="location30",
        description="Location-30: 446 kinds of places that a person visited or not, 30 clusters (Shokri et al. 2017)",
        read=read,
        shape=(446,),
        num_classes=30,
        rows=(4_008, 1_002),
        files=(
            PublishedFile(
                _ARCHIVE,
                f"https://github.com/privacytrustlab/datasets/raw/master/{_ARCHIVE}",
                "sha256:927203f85a868f8ee17a0ded1dc61699efe602167beabe34fbf45b4b1de94b33",
            ),
        ),
    )
)
