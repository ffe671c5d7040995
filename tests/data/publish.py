"""Small files in the forms of their publishers, and a server that offers them."""

import contextlib
import dataclasses
import gzip
import io
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gradshape.data.source import PublishedFile, RawSplit, Source


def idx(array: NDArray[np.uint8]) -> bytes:
    """An IDX file of bytes."""
    header = np.array([0x0800 + array.ndim, *array.shape], dtype=">u4")
    return header.tobytes() + array.tobytes()


def fashion(folder: Path, *, train: int = 40, test: int = 20) -> dict[str, NDArray[np.uint8]]:
    """The four files of FashionMNIST with fewer rows; classes follow each other as 0, 1, ..., 9, 0, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = np.random.default_rng(0)
    arrays = {}
    for prefix, rows in (("train", train), ("t10k", test)):
        arrays[f"{prefix}-images-idx3-ubyte"] = generator.integers(0, 256, (rows, 28, 28), dtype=np.uint8)
        arrays[f"{prefix}-labels-idx1-ubyte"] = (np.arange(rows) % 10).astype(np.uint8)
    for name, array in arrays.items():
        (folder / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    return arrays


def cifar_batches(*, batch: int = 4) -> dict[str, bytes]:
    """The six binary files of CIFAR-10 with ``batch`` rows each."""
    generator = np.random.default_rng(0)
    names = [*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"]
    files = {}
    for name in names:
        table = generator.integers(0, 256, (batch, 3073), dtype=np.uint8)
        # Classes follow each other from file to file.
        table[:, 0] = (np.arange(batch) + batch * names.index(name)) % 10
        files[name] = table.tobytes()
    return files


def tgz(path: Path, members: dict[str, bytes]) -> Path:
    """A ``.tar.gz`` of regular files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def table(x: NDArray[Any], y: NDArray[Any], *, quote: str = '"', newline: str = "\n") -> bytes:
    """The table of Location-30 and Purchase-100: a class id counted from 1, then zeros and ones."""
    lines = [f"{quote}{label + 1}{quote},{','.join(map(str, row))}" for row, label in zip(x.tolist(), y, strict=True)]
    return (newline.join(lines) + newline).encode()


def records(rows: int, features: int, classes: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Random zeros and ones, and class ids of which every one occurs if there are enough rows."""
    x = np.random.default_rng(0).integers(0, 2, (rows, features), dtype=np.uint8)
    return x, np.arange(rows, dtype=np.int64) % classes


def read_bytes_as_rows(folder: Path) -> tuple[RawSplit, RawSplit]:
    """Reads ``toy.bin``: each byte is a row with one feature, and its parity the class."""
    content = np.frombuffer((folder / "toy.bin").read_bytes(), dtype=np.uint8)
    rows = RawSplit(content[:, None], content % 2)
    return rows, rows


def toy(url: str, hash: str | None, *, name: str = "toy", file: str = "toy.bin") -> Source:
    """A source of one downloaded file."""
    return Source(
        name=name,
        description="a toy",
        read=read_bytes_as_rows,
        scale=255,
        shape=(1,),
        num_classes=2,
        files=(PublishedFile(file, url, hash),),
    )


def smaller(source: Source, read: Callable[..., tuple[RawSplit, RawSplit]], **counts: int) -> Source:
    """``source`` with files of fewer rows."""
    return dataclasses.replace(source, read=partial(read, **counts))


@dataclasses.dataclass
class Server:
    """What a local web server offers, and how often it was asked."""

    url: str
    content: dict[str, bytes] = dataclasses.field(default_factory=dict)
    requests: list[str] = dataclasses.field(default_factory=list)
    announce: int = 0  # bytes announced beyond those sent: a broken connection


@contextlib.contextmanager
def serve(**content: bytes) -> Iterator[Server]:
    """A server on this machine; keyword ``toy`` is offered as ``/toy``."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            server.requests.append(name)
            if name not in server.content:
                self.send_error(404)
                return
            body = server.content[name]
            self.send_response(200)
            self.send_header("Content-Length", str(len(body) + server.announce))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server = Server(f"http://127.0.0.1:{http.server_address[1]}/", dict(content))
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        thread.join()
        http.server_close()
