"""Pictures and the files that they are saved to."""

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure

from gradshape_bench.report.plots.style import style

# Metadata that would differ between two runs, by format.
_METADATA: dict[str, dict[str, str | None]] = {
    "png": {"Software": None},
    "svg": {"Date": None, "Creator": None},
}


@dataclass(frozen=True, eq=False)
class Picture:
    """A drawn figure.

    Attributes:
        name: name of its files, without an ending.
        figure: the figure, which is never shown, so that no display is needed.
    """

    name: str
    figure: Figure

    def save(self, folder: Path) -> list[Path]:
        """Write the picture as PNG and SVG into ``folder``, which is created if missing; readers see whole files only.

        Returns:
            The paths of the two files.

        Raises:
            OSError: a file cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        paths = []
        for ending, metadata in _METADATA.items():
            path = folder / f"{self.name}.{ending}"
            _write(path, self._encoded(ending, metadata))
            paths.append(path)
            # Computing the layout takes longest, and both formats share it.
            self.figure.set_layout_engine("none")
        return paths

    def _encoded(self, ending: str, metadata: dict[str, str | None]) -> bytes:
        buffer = BytesIO()
        with style():
            self.figure.savefig(buffer, format=ending, metadata=metadata)
        return buffer.getvalue()


def _write(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
