"""Finds the Pythons of other minor versions on this machine: on the PATH, and where pyenv keeps its own."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest


def of_pyenv(minor: str) -> Path | None:
    """The folder of a Python of that minor version which pyenv has put on this machine."""
    roots = (os.environ.get("PYENV_ROOT", ""), f"{pwd.getpwuid(os.getuid()).pw_dir}/.pyenv")
    found = [path for root in roots if root for path in sorted(Path(root).glob(f"versions/{minor}.*"))]
    return next((path for path in found if (path / "bin" / f"python{minor}").exists()), None)


def python(minor: str) -> str:
    """A program that is that version and can make environments. Skips the test where there is none."""
    kept = of_pyenv(minor)
    for named in (shutil.which(f"python{minor}"), kept and str(kept / "bin" / f"python{minor}")):
        if named and _is(named, minor):
            return named
    pytest.skip(f"no Python {minor} on this machine")


def _is(program: str, minor: str) -> bool:
    """A shim of pyenv's is there and says that it is not; Debian's may lack what makes environments."""
    tell = "import ensurepip, sys, venv; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([program, "-c", tell], capture_output=True, text=True, check=False)
    return done.stdout.strip() == minor
