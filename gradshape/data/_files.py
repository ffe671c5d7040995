"""Reading of files that may be damaged, or made to do harm, in bounded time and memory.

Every failure is a ``DataError`` that names the file, whatever the parser raises. What a file declares of itself is
believed only as far as the file is large enough for it.
"""

import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from gradshape.data.errors import DataError

_CHUNK = 1 << 16
# Of gzip streams in a file and of files in an archive: each costs time, however small it is.
_MOST_PARTS = 100_000


def impostor(head: bytes) -> str | None:
    """Judge by a file's first bytes what was saved in place of data; return ``None`` if nothing gives it away."""
    start = head[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if not head:
        return "is empty"
    if start.startswith((b"<!doctype", b"<html", b"<head", b"<body", b"<?xml")):
        return "looks like a web page that was saved as data"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the data it points to"
    return None


@contextmanager
def opened(path: Path, expected: str) -> Iterator[BinaryIO]:
    """Open a regular file; what is raised while it is open ends as a ``DataError`` that says what was ``expected``."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise DataError(path, f"cannot be read (no regular file): expected {expected}")
            found = impostor(file.read(512))
            if found:
                raise DataError(path, f"{found}: expected {expected}")
            file.seek(0)
            yield file
    except DataError:
        raise
    except MemoryError as error:
        raise DataError(path, f"does not fit into this machine's memory: expected {expected}") from error
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            problem = f"cannot be read ({error.strerror})"
        else:
            problem = f"is truncated or damaged ({f'{error}'[:200] or type(error).__name__})"
        raise DataError(path, f"{problem}: expected {expected}") from error


def _without_waiting(path: str, flags: int) -> int:
    # A named pipe would else be waited for until somebody writes to it.
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_bytes(path: Path, expected: str, *, most: int) -> bytes | bytearray:
    """Return the content of a file, unzipped if its name ends in ``.gz``; errors say what was ``expected``.

    Of more than ``most`` bytes, as many and one more are returned.
    """
    with opened(path, expected) as file:
        return unzipped(file, most=most) if path.suffix == ".gz" else file.read(most + 1)


def unzipped(file: BinaryIO, *, most: int) -> bytearray:
    """Unzip gzip streams that follow each other; stop one byte after ``most`` bytes.

    Raises:
        EOFError, ValueError, zlib.error: the file is truncated or damaged.
    """
    content, streams = bytearray(), 1
    stream = zlib.decompressobj(wbits=31)
    while chunk := file.read(_CHUNK):
        while chunk:
            if stream.eof:
                # Zeros may fill up the space between and after the streams.
                chunk = chunk.lstrip(b"\0")
                if not chunk:
                    break
                streams += 1
                if streams > _MOST_PARTS:
                    raise ValueError(f"more than {_MOST_PARTS:,} gzip streams")
                stream = zlib.decompressobj(wbits=31)
            content += stream.decompress(chunk, most + 1 - len(content))
            if len(content) > most:
                return content
            chunk = stream.unused_data
    if not stream.eof:
        raise EOFError("the file ends before its last gzip stream")
    return content


def read_members(path: Path, names: tuple[str, ...], expected: str, *, most: int) -> dict[str, bytes]:
    """Return the content of the named members of a ``.tar.gz``, without writing any file.

    Members are matched by their last path component and only regular files count, so an archive can
    neither choose where something is written nor link out of itself.

    Args:
        path: the archive.
        names: of the members; each has to be there once.
        expected: what errors say was expected.
        most: bytes that the unzipped archive may have.
    """
    members: dict[str, bytes] = {}
    with opened(path, expected) as file:
        archive = unzipped(file, most=most)
        if len(archive) > most:
            raise DataError(path, f"unzips to more than {most:,} bytes: expected {expected}")
        for name, start, end in _regular_files(archive):
            if name in names and name in members:
                raise DataError(path, f"has two members {name}: expected {expected}")
            if name in names:
                members[name] = bytes(memoryview(archive)[start:end])
    lacking = sorted(set(names) - members.keys())
    if lacking:
        raise DataError(path, f"has no member {', '.join(lacking)}: expected {expected}")
    return members


_BLOCK = 512
# Types of members that no content follows, whatever their size says: links, devices, folders, pipes.
_EMPTY_TYPES = b"123456"


def _regular_files(archive: bytearray) -> Iterator[tuple[str, int, int]]:
    """Yield the last path component of each regular file in a tar archive, and where its content starts and ends.

    Not by :mod:`tarfile`, which follows records that a header may chain, and sizes that it may declare, at any cost.
    Names of more than 100 bytes, which are kept in such records, are cut.
    """
    start = 0
    for _ in range(_MOST_PARTS):
        header = archive[start : start + _BLOCK]
        if not any(header):
            # A block of zeros ends an archive; some end without.
            return
        start += _BLOCK
        if len(header) < _BLOCK or _octal(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * ord(" "):
            raise ValueError("no tar header where one should be")
        kind = header[156:157]
        end = start + (0 if kind in _EMPTY_TYPES else _octal(header[124:136]))
        if end > len(archive):
            raise EOFError("a member of the archive ends after it")
        if kind in b"0\0":
            name = bytes(header[:100]).split(b"\0", 1)[0].decode("utf-8", "surrogateescape")
            yield name.rsplit("/", 1)[-1], start, end
        start = end + -end % _BLOCK
    raise ValueError(f"more than {_MOST_PARTS:,} members")


def _octal(field: bytearray) -> int:
    digits = bytes(field).strip(b" \0")
    if digits.strip(b"01234567"):
        raise ValueError(f"{digits!r} in place of a number in a tar header")
    return int(digits or b"0", 8)


def memory() -> int:
    """Return the bytes of memory that this machine has, or a very large number where it does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return 1 << 62
