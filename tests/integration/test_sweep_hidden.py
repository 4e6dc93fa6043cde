"""A process that lets nobody look into it, because it holds a key, is still found as part of its attempt."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from node_agent.machine.programs import PACKAGE
from tests.peeking import WITHOUT_POWERS

MARKER = "r-hidden.1.7"
HIDDEN = f"""
import sys, time
sys.path.append({str(Path(PACKAGE).parent)!r})
from node_agent.native.secrecy import hide_memory
hide_memory()
print("up", flush=True)
time.sleep(600)
"""
LOOK = f"""
import sys
sys.path.append({str(Path(PACKAGE).parent)!r})
from node_agent.shim import process
print(*(pid for pid, _ in process.find_members(sys.argv[1])))
"""


def test_it_is_found_by_a_path_of_its_attempt(tmp_path: Path) -> None:
    spec = str(tmp_path / "work" / MARKER / "home" / "spec")
    argv = [*WITHOUT_POWERS, sys.executable, "-c", HIDDEN, spec]
    env = {"PANCODE_ATTEMPT": MARKER}
    with subprocess.Popen(argv, stdout=subprocess.PIPE, env=env, start_new_session=True) as worker:
        assert worker.stdout is not None and worker.stdout.readline() == b"up\n"
        found = {marker: _found(marker) for marker in (MARKER, "r-hidden.1.70", "r-hidden.1")}
        worker.kill()
    assert found == {MARKER: str(worker.pid), "r-hidden.1.70": "", "r-hidden.1": ""}


def _found(marker: str) -> str:
    argv = [*WITHOUT_POWERS, sys.executable, "-c", LOOK, marker]
    return subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
