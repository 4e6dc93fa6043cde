"""Node bundles that one fleet has fetched and packed, for all that come after it in this session of tests."""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path


def kept_bundles() -> Path:
    """Of all workers alike. It is the same code: a bundle is named by what is in it."""
    return Path(os.environ["TESTS_SHARED"]) / "node-bundles"


def lay_out_bundles(folder: Path) -> None:
    """What is kept, in a fleet's folder for bundles."""
    if kept_bundles().is_dir():
        shutil.copytree(kept_bundles(), folder, copy_function=os.link, dirs_exist_ok=True)


def keep_bundles(folder: Path) -> None:
    """What the first fleet of any worker has made; another worker may do so at the same time."""
    if not folder.is_dir() or kept_bundles().exists():
        return
    new = Path(tempfile.mkdtemp(dir=kept_bundles().parent))
    shutil.copytree(folder, new, copy_function=os.link, dirs_exist_ok=True)
    with suppress(OSError):  # the other was first
        new.rename(kept_bundles())
    shutil.rmtree(new, ignore_errors=True)
