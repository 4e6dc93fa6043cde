"""Shows that the shim, with every file it names, loads on a Python where nothing at all is installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import ROOT, imports, within

SHIM = Path("node_agent/shim/shim.py")
# As the runner starts it, but for the plan: every import happens, main does not.
LOAD = "import runpy, sys; sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='loaded')"


def _reached() -> set[Path]:
    """The shim and every file of ours that it imports, at any remove."""
    if not (ROOT / SHIM).is_file():
        pytest.skip("not built yet: the shim")
    found, waiting = set(), [SHIM]
    while waiting:
        path = waiting.pop()
        found.add(path)
        named = {
            Path(name.replace(".", "/") + ".py") for _, name in imports(path) if within(name, "node_agent")
        }
        waiting += [other for other in named if (ROOT / other).is_file() and other not in found]
    return found


def test_they_import_the_standard_library_only() -> None:
    for path in _reached():
        for line, name in imports(path):
            known = name.split(".")[0] in {*sys.stdlib_module_names, "node_agent"}
            assert known and not within(name, "node_agent.wire"), f"{path}:{line} imports {name}"


def test_the_shim_loads_where_no_wheel_is_installed(tmp_path: Path) -> None:
    package = tmp_path / "node_agent"
    for path in {*_reached(), Path("node_agent/__init__.py")}:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, tmp_path / path)
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LOAD, str(package / "shim/shim.py")],
        cwd="/",
        env={"PATH": "/usr/bin:/bin"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
