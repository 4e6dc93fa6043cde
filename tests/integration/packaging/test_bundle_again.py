"""The node bundle is reproducible: the same input gives the same bytes wherever and whenever it is made."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

import node_agent
from tests.integration.ssh.test_bundle import MOST_BYTES

MAKE = """
import os, platform, sys
from pathlib import Path
os.umask(int(sys.argv[3], 8))
from pancode.fleet.bundle.platform import NodePlatform
from pancode.fleet.bundle.store import BundleStore
here = NodePlatform(sys.version_info[:3], platform.machine(), (2, 36))
_, bundle = BundleStore(Path(sys.argv[1]), agent=Path(sys.argv[2])).bundle_for([here])
print(bundle.digest, bundle.sha256, bundle.size, bundle.path, sep="\\n")
"""


def begun(folder: Path, agent: Path, umask: str, environ: dict[str, str]) -> subprocess.Popen[str]:
    """One that makes a bundle of this copy of the node agent, in a process with an environment of its own."""
    plain = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
    folder.mkdir()
    argv = [sys.executable, "-c", MAKE, str(folder / "bundles"), str(agent), umask]
    return subprocess.Popen(argv, env=plain, cwd=folder, stdout=subprocess.PIPE, text=True)


def copied(folder: Path, when: float) -> Path:
    """The node agent's sources as another clone has them: other times and modes, made in another order."""
    source = Path(node_agent.__file__ or "").parent
    shutil.copytree(
        source, folder, ignore=shutil.ignore_patterns("__pycache__"), copy_function=shutil.copyfile
    )
    for path in sorted(folder.rglob("*"), reverse=True):
        path.chmod(0o755 if path.is_dir() else 0o600)
        os.utime(path, (when, when))
    return folder


def told(process: subprocess.Popen[str]) -> tuple[str, str, int, Path]:
    out, _ = process.communicate(timeout=600)
    assert process.returncode == 0
    digest, sha256, size, path = out.splitlines()
    return digest, sha256, int(size), Path(path)


@pytest.mark.slow
def test_it_is_the_same_from_two_clones_at_two_times_in_two_worlds(tmp_path: Path) -> None:
    early = copied(tmp_path / "an early clone", 1_000_000_000)
    late = copied(tmp_path / "z", time.time() + 86_400)
    plain = {"LC_ALL": "C", "TZ": "UTC", "PYTHONHASHSEED": "1"}
    other = {"LC_ALL": "C.UTF-8", "LANG": "de_DE.UTF-8", "TZ": "Asia/Kathmandu", "PYTHONHASHSEED": "2"}
    one = begun(tmp_path / "one", early, "077", plain)
    two = begun(tmp_path / "two folders deep é", late, "002", {**other, "SOURCE_DATE_EPOCH": "1"})
    digest, sha256, size, path = told(one)
    assert told(two)[:3] == (digest, sha256, size)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == sha256
    assert size <= MOST_BYTES, "what docs/howto/first-remote-node.md says, and more than is ever sent"
