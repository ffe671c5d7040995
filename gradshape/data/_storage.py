"""Where data files lie, and the download of missing ones: checked, whole, and by one process at a time."""

import gzip
import hashlib
import os
import re
import shlex
import sys
import zlib
from pathlib import Path

from filelock import FileLock

from gradshape.data._files import impostor
from gradshape.data.errors import DataUnavailable
from gradshape.data.source import PublishedFile, Source

# With small chunks, system calls would take longer than the network.
_CHUNK = 1 << 18


def data_root(root: str | os.PathLike[str] | None = None) -> Path:
    """Return ``root``, else ``$GRADSHAPE_DATA``, else the user's cache directory."""
    chosen = root or os.environ.get("GRADSHAPE_DATA")
    if chosen:
        return Path(chosen).expanduser()
    import pooch

    return Path(pooch.os_cache("gradshape"))


def offline() -> bool:
    """Return whether ``GRADSHAPE_OFFLINE`` forbids the network: set, and neither empty nor 0."""
    return os.environ.get("GRADSHAPE_OFFLINE", "") not in ("", "0")


def ensure(source: Source, root: str | os.PathLike[str] | None = None, *, download: bool = True) -> Path:
    """Return the folder that holds every file of ``source``, after downloading those that were missing.

    Files that are found are used as they are; only downloads have their hash checked.

    Raises:
        DataUnavailable: something is missing, and may not or cannot be downloaded.
        FileNotFoundError: ``source`` was named by a path where nothing lies.
    """
    base = data_root(root)
    folder = source.location(base)
    if source.path is not None and not source.path.exists():
        raise FileNotFoundError(f"data set file {str(source.path)!r} does not exist: expected the path of an .npz file")
    command = f"python -m gradshape.data fetch {source.name}"
    if root is not None:
        command += f" --root {shlex.quote(str(root))}"
    try:
        missing = source.missing(base)
        if missing and (offline() or not download):
            why = "GRADSHAPE_OFFLINE is set, unset it first" if offline() else "download=False or --offline"
            lacking = ", ".join(file.name for file in missing)
            reason = f"{folder} lacks {lacking}, and the network may not be used ({why})"
            raise DataUnavailable(source.name, reason, command)
        for file in missing:
            _download(file, folder)
        source.unpack(folder)
    except DataUnavailable:
        raise
    except OSError as error:
        # Errors with a number come from the file system, for instance if it is full or read-only.
        hint = "" if error.errno is None else " (GRADSHAPE_DATA or --root choose another place)"
        raise DataUnavailable(source.name, f"looked in {folder}: {error}{hint}", command) from error
    return folder


def _download(file: PublishedFile, folder: Path) -> None:
    """Download one file under a temporary name, check it and move it in place."""
    destination = folder / file.name
    destination.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(destination.with_name(f"{destination.name}.lock")):
        if file.present(folder):
            return  # another process was faster
        partial = destination.with_name(f"{destination.name}.part")
        try:
            _transfer(file.url, partial)
            _check(file, partial, destination.with_name(f"{destination.name}.sha256"))
            partial.replace(destination)
        finally:
            partial.unlink(missing_ok=True)


def _transfer(url: str, partial: Path) -> None:
    import pooch

    downloader = pooch.HTTPDownloader(progressbar=sys.stderr.isatty(), chunk_size=_CHUNK)
    try:
        downloader(url, str(partial), None)
    except OSError as error:  # requests raises subclasses of it, without a number
        if error.errno is not None:
            raise
        raise OSError(f"downloading {url} to {partial} failed: {error}") from error


def _check(file: PublishedFile, partial: Path, sidecar: Path) -> None:
    with partial.open("rb") as stream:
        found = impostor(stream.read(512))
    if found:
        raise OSError(f"what {file.url} sent {found}")
    expected = file.hash
    if expected is None and sidecar.exists():
        expected = f"sha256:{_recorded(sidecar)}"
    algorithm, _, digest = (expected or "sha256:").partition(":")
    with partial.open("rb") as stream:
        actual = hashlib.file_digest(stream, algorithm).hexdigest()
    if expected is None:
        _check_gzip(file, partial)
        sidecar.write_text(f"{actual}  {file.name}\n")
    elif actual != digest:
        raise OSError(f"what {file.url} sent has {algorithm} {actual}: expected {digest}")


def _recorded(sidecar: Path) -> str:
    """Return the hash in a file beside a download, which is written as ``sha256sum`` writes it."""
    with sidecar.open("rb") as file:
        found = re.match(rb"[0-9a-f]{64}(?=\s)", file.read(100))
    if not found:
        raise OSError(f"{sidecar} holds no sha256: remove it to accept whatever is downloaded")
    return found[0].decode("ascii")


def _check_gzip(file: PublishedFile, partial: Path) -> None:
    """Read an archive to its end, so that its own checksum is checked where no hash is known."""
    if not file.name.endswith("gz"):
        return
    try:
        with gzip.open(partial) as stream:
            while stream.read(_CHUNK):
                pass
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise OSError(f"what {file.url} sent is no whole gzip file: {error}") from error
