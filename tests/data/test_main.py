import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gradshape.data import __main__, names
from tests.data import publish


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    status = __main__.main(arguments)
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def test_list_shows_every_set_and_its_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish.fashion(tmp_path / "fashion_mnist")
    status, out, err = run(capsys, "list", "--root", str(tmp_path))
    states = {line.split()[0]: line.split()[-1] for line in out.splitlines() if line.split()}
    assert (status, err) == (0, "")
    assert set(names()) <= states.keys()
    assert (states["digits"], states["fashion_mnist_34"], states["cifar10"]) == ("embedded", "present", "missing")
    assert str(tmp_path) in out


def test_info_of_an_embedded_set(capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "info", "digits_38")
    assert status == 0
    for part in ("embedded", "1 x 8 x 8", "285 rows; by class: 146 139", "a04965e3250ef90eef1b8e752a272718"):
        assert part in out


def test_info_of_a_missing_set_downloads_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    status, out, _ = run(capsys, "--root", str(tmp_path), "info", "cifar10")
    assert status == 0
    assert "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz" in out
    assert "python -m gradshape.data fetch cifar10" in out
    assert list(tmp_path.iterdir()) == []


def test_info_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.npz"
    np.savez(path, x_train=np.eye(2), y_train=[0, 1], x_test=np.eye(2), y_test=[0, 1])
    status, out, _ = run(capsys, "info", str(path))
    assert status == 0
    assert str(path) in out
    assert "2 rows; by class: 1 1" in out


def test_fetch_prints_the_path(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    publish.fashion(tmp_path / "fashion_mnist")
    status, out, _ = run(capsys, "fetch", "fashion_mnist_34", "--root", str(tmp_path), "--offline")
    assert (status, out) == (0, f"{tmp_path / 'fashion_mnist'}\n")


def test_fetch_of_an_embedded_set_has_nothing_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "fetch", "digits") == (0, "digits is embedded: there is nothing to fetch\n", "")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("fetch", "cifar1"), "error: unknown data set 'cifar1': did you mean 'cifar10'"),
        (("fetch", "cifar10", "--offline"), "error: data set 'cifar10' is not available"),
        (("info", "nowhere.npz"), "error: data set file 'nowhere.npz' does not exist"),
        (("info", "digits_33"), "error: class pair 'digits_33'"),
    ],
)
def test_error_is_one_line_and_status_1(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...], problem: str
) -> None:
    status, out, err = run(capsys, *arguments, "--root", str(tmp_path))
    assert (status, out) == (1, "")
    assert err.startswith(problem)
    assert err.count("\n") == 1


def test_bad_file_is_an_error_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "location30").mkdir()
    (tmp_path / "location30" / "dataset_location.tgz").touch()
    status, _, err = run(capsys, "info", "location30", "--root", str(tmp_path))
    assert status == 1
    assert "dataset_location.tgz is empty" in err


@pytest.mark.parametrize("arguments", [(), ("fetch",), ("frob",), ("list", "--nonsense")])
def test_bad_usage_is_status_2(arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit, match="2"):
        __main__.main(arguments)


def test_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gradshape.data", "fetch", "digts"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: unknown data set 'digts'")
