"""The environment of a measurement, as it is recorded."""

import platform
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import numpy
import torch

import gradshape
from gradshape_bench.job_names.code_digest import library_source
from gradshape_bench.matmul_precision import tf32_settings
from gradshape_bench.processor import processor


def describe(device: str, root: Path) -> dict[str, Any]:
    """Return versions, device, hash of the library's source and, in a git checkout, the commit."""
    where = platform.machine()
    if device.startswith("cuda"):
        # Jobs may run on other machines alone.
        where = torch.cuda.get_device_name(device) if torch.cuda.is_available() else "of other machines"
    return {
        "gradshape": gradshape.__version__,
        "source": library_source()[:12],
        "commit": _commit(root),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.system(),
        "device": f"{device} ({where})",
        "processor": processor(),
        **tf32_settings(),
    }


@cache
def _commit(root: Path) -> str | None:
    try:
        head = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--untracked-files=no", "--", ".", ":!reports")
        return f"{head}+changes" if changed else head
    except (OSError, subprocess.SubprocessError):
        return None


def _git(root: Path, *arguments: str) -> str:
    run = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10, check=True)
    return run.stdout.strip()
