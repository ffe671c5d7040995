import dataclasses
from pathlib import Path

import pytest

from gradshape.data import PublishedFile, Source, info, load, names, register, source
from tests.data.publish import read_bytes_as_rows

SOURCE = Source(name="mine", description="my own", read=read_bytes_as_rows, scale=255)


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "_registry", dict(source._registry))


def test_registered_source_loads_by_name(tmp_path: Path) -> None:
    register(dataclasses.replace(SOURCE, files=(PublishedFile("toy.bin", "http://127.0.0.1:9/", None),)))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "toy.bin").write_bytes(bytes([0, 1, 255]))
    dataset = load("mine", root=tmp_path, download=False)
    assert "mine" in names()
    assert dataset.train.x.max() == 1
    assert (dataset.num_classes, dataset.description) == (2, "my own")


def test_name_can_be_taken_only_once() -> None:
    register(SOURCE)
    with pytest.raises(ValueError, match="name='mine': expected a new name"):
        register(SOURCE)


@pytest.mark.parametrize("name", ["two words", "a-b", "a=b", "Upper", "", "file.npz"])
def test_name_must_fit_into_case_ids(name: str) -> None:
    with pytest.raises(ValueError, match="expected lower-case letters, digits and underscores"):
        register(dataclasses.replace(SOURCE, name=name))


def test_file_is_present_itself_or_by_all_that_stand_for_it(tmp_path: Path) -> None:
    file = PublishedFile("a.tgz", "http://127.0.0.1:9/", None, instead=("b", "c"))
    assert not file.present(tmp_path)
    (tmp_path / "b").touch()
    assert not file.present(tmp_path)
    (tmp_path / "c").touch()
    assert file.present(tmp_path)
    (tmp_path / "c").unlink()
    (tmp_path / "a.tgz").touch()
    assert file.present(tmp_path)


def test_published_sets_say_where_they_come_from() -> None:
    for name in names():
        for file in info(name).files:
            assert file.url.startswith("http")
            assert file.hash is None or file.hash.partition(":")[0] in ("md5", "sha256")
