import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradshape.data import DataError
from gradshape.data._files import impostor, read_bytes, read_members
from gradshape.data._formats import binary_table, shuffled
from tests.data import publish

MOST = 100_000
HTML = b"\n<!DOCTYPE html><html><body>Sign in to continue</body></html>"


@pytest.mark.parametrize(
    ("head", "verdict"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(HTML, "looks like a web page", id="HTML"),
        pytest.param(b"\xef\xbb\xbf<HTML>", "looks like a web page", id="HTML with byte order mark"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer", id="LFS"),
    ],
)
def test_impostor_is_recognised(head: bytes, verdict: str) -> None:
    assert (impostor(head) or "").startswith(verdict)


@pytest.mark.parametrize("head", [b"\x1f\x8b\x08", b"PK\x03\x04", b'"13",0,1', b"\x00\x00\x08\x03"])
def test_data_is_no_impostor(head: bytes) -> None:
    assert impostor(head) is None


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(HTML, "looks like a web page", id="HTML"),
        pytest.param(gzip.compress(b"data" * 100)[:-10], "is truncated or damaged", id="truncated"),
        pytest.param(b"never zipped", "is truncated or damaged", id="no gzip"),
        pytest.param(gzip.compress(b"data" * 100)[:-8] + b"\0" * 8, "is truncated or damaged", id="checksum"),
    ],
)
def test_bad_gzip_file_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "rows.gz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem) as caught:
        read_bytes(path, "zipped rows", most=MOST)
    assert caught.value.path == path
    assert "expected zipped rows" in str(caught.value)


def test_folder_in_place_of_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows.gz").mkdir()
    with pytest.raises(DataError, match="cannot be read"):
        read_bytes(tmp_path / "rows.gz", "zipped rows", most=MOST)
    with pytest.raises(DataError, match="cannot be read"):
        read_members(tmp_path / "rows.gz", ("table",), "a table", most=MOST)


def test_members_are_found_in_any_folder_of_an_archive(tmp_path: Path) -> None:
    path = publish.tgz(tmp_path / "a.tgz", {"deep/in/table": b"content", "other": b"x"})
    assert read_members(path, ("table",), "a table", most=MOST) == {"table": b"content"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        pytest.param(b"", "is empty", id="empty"),
        pytest.param(HTML, "looks like a web page", id="HTML"),
        pytest.param(b"no archive at all", "is truncated or damaged", id="no archive"),
        pytest.param(gzip.compress(b"no archive"), "is truncated or damaged", id="zipped, but no archive"),
    ],
)
def test_bad_archive_is_named(tmp_path: Path, content: bytes, problem: str) -> None:
    path = tmp_path / "a.tgz"
    path.write_bytes(content)
    with pytest.raises(DataError, match=problem):
        read_members(path, ("table",), "a table", most=MOST)


def test_truncated_archive_is_named(tmp_path: Path) -> None:
    path = publish.tgz(tmp_path / "a.tgz", {"table": np.random.default_rng(0).bytes(10_000)})
    path.write_bytes(path.read_bytes()[:5_000])
    with pytest.raises(DataError, match="is truncated or damaged"):
        read_members(path, ("table",), "a table", most=MOST)


def test_archive_without_the_member_is_named(tmp_path: Path) -> None:
    path = publish.tgz(tmp_path / "a.tgz", {"other": b"x"})
    with pytest.raises(DataError, match="has no member table: expected a table"):
        read_members(path, ("table",), "a table", most=MOST)


def test_link_is_no_member(tmp_path: Path) -> None:
    path = tmp_path / "a.tgz"
    with tarfile.open(path, "w:gz") as archive:
        link = tarfile.TarInfo("table")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link, io.BytesIO())
    with pytest.raises(DataError, match="has no member table"):
        read_members(path, ("table",), "a table", most=MOST)


def test_shuffled_is_a_permutation_drawn_by_seed() -> None:
    assert sorted(shuffled(100, seed=1)) == list(range(100))
    assert shuffled(100, seed=1).tolist() == shuffled(100, seed=1).tolist()
    assert shuffled(100, seed=1).tolist() != shuffled(100, seed=2).tolist()


@settings(max_examples=40)
@given(
    rows=st.integers(1, 12),
    features=st.integers(1, 9),
    quote=st.sampled_from(["", '"']),
    newline=st.sampled_from(["\n", "\r\n"]),
    last_newline=st.booleans(),
    seed=st.integers(0, 9),
)
def test_table_reads_what_was_written(
    rows: int, features: int, quote: str, newline: str, last_newline: bool, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    x = generator.integers(0, 2, (rows, features), dtype=np.uint8)
    y = generator.integers(0, 100, rows)
    text = publish.table(x, y, quote=quote, newline=newline)
    if not last_newline:
        text = text.removesuffix(newline.encode())
    read_x, read_y = binary_table(Path("table"), text, features=features, classes=100, rows=rows)
    assert np.array_equal(read_x, x)
    assert np.array_equal(read_y, y)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param('"1",0,1\n', "has 1 lines: expected 2 lines", id="a line short"),
        pytest.param('"1",0,1\n"2",0\n', "line 2 has", id="a value short"),
        pytest.param('"1",0,1\n"2",0,1,1\n', "line 2 has", id="a value too many"),
        pytest.param('"1",0,1\n"2",0,2\n', "line 2 has .* neither 0 nor 1", id="a two"),
        pytest.param('"1",0,1\n"2",0.1\n', "line 2 has", id="a fraction"),
        pytest.param('"1",0,1\n"2",,1\n', "line 2 has", id="an empty value"),
        pytest.param('"1";0;1\n"2";0;1\n', "line 1 has", id="semicolons"),
        pytest.param('"1",0,1\n"31",0,1\n', r"line 2 has a class id outside 1\.\.30", id="class too large"),
        pytest.param('"0",0,1\n"2",0,1\n', r"line 1 has a class id outside 1\.\.30", id="class zero"),
        pytest.param('"1",0,1\nx,0,1\n', r"line 2 has a class id outside 1\.\.30", id="class a letter"),
        pytest.param('"1",0,1\n,0,1\n', "line 2 has too few characters", id="no class"),
        pytest.param('"1",0,1\n"1000000",0,1\n', "line 2 has a longer class id", id="long class"),
        pytest.param("\n\n", "line 1 has too few characters", id="empty lines"),
    ],
)
def test_bad_table_is_refused_by_line(text: str, problem: str) -> None:
    with pytest.raises(DataError, match=problem) as caught:
        binary_table(Path("table"), text.encode(), features=2, classes=30, rows=2)
    assert caught.value.path == Path("table")
