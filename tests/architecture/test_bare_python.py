"""Shows that the shim and its spool run on a Python where nothing at all is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, imports

FILES = [ROOT / "node_agent" / name for name in ("shim.py", "spool.py")]
SIBLINGS = ("spool", "node_agent.spool", "node_agent")


def _need_files() -> None:
    if not all(file.is_file() for file in FILES):
        pytest.skip("not built yet: the shim and its spool")


def test_they_import_the_standard_library_only() -> None:
    _need_files()
    for file in FILES:
        for line, name in imports(file.relative_to(ROOT)):
            known = name.split(".")[0] in sys.stdlib_module_names or name.startswith(SIBLINGS)
            assert known, f"{file.name}:{line} imports {name}"


def test_the_shim_starts_where_no_wheel_is_installed(tmp_path: Path) -> None:
    _need_files()
    for file in FILES:
        shutil.copy(file, tmp_path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(tmp_path / "shim.py")],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert "Error" not in done.stderr and "Traceback" not in done.stderr, done.stderr
    assert done.returncode != 0, "without a plan folder the shim has nothing to run and must say so"
