"""Decides what Landlock, the weaker sandbox, leaves to a phase, and checks whether this kernel has it.

For machines without bubblewrap, and never for root, who reaches too much by other ways than paths.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from node_agent.sandbox import landlock
from node_agent.sandbox.detect import write_etc
from node_agent.sandbox.policy import ETC, NET_ETC, Network, System, View, is_within
from node_agent.sandbox.syscalls import FILTER

TRIAL_S = 10
NO_PORT = 0
_NAMES = ("/etc/passwd", "/etc/group")
_DEVICES = tuple(f"/dev/{name}" for name in "null zero full random urandom tty ptmx pts shm".split())
_TRIAL = 'echo x > "$1/tree/in" && cat "$1/tree/in" && ! cat "$1/key" && ! echo x > "$1/out"'
"""It really opens: what Landlock forbids still looks as if it were allowed."""


def fence(view: View, port: int = 0) -> tuple[str, ...]:
    """The words before a command. `port`: of the model gateway, which listens outside here."""
    read = [*_system(view.system), *view.shown]
    # Rules of Landlock only add: what holds something hidden is not shown at all.
    read = [path for path in read if not any(is_within(one, path) for one in view.hidden)]
    write = [view.home, *_DEVICES]
    (write if view.writable else read).append(view.tree)
    words = [word for path in dict.fromkeys(read) for word in ("--read", path)]
    words += [word for path in write for word in ("--write", path)]
    if view.network is not Network.FULL:
        words += ["--tcp", str(port if view.network is Network.MODEL else NO_PORT)]
    words += ["--calls", f"{view.etc}/{FILTER}"]
    return (os.path.realpath(sys.executable), "-I", "-S", landlock.__file__, *words, "--")


def _system(system: System) -> tuple[str, ...]:
    return (*system.folders, *ETC, *NET_ETC, *_NAMES, *system.etc, "/proc")


def holds(folder: Path, system: System) -> bool:
    """A real trial, in a folder of ours. Never raises."""
    try:
        if landlock.abi() < landlock.LEAST_ABI:
            return False
        write_etc(folder)
        with tempfile.TemporaryDirectory(prefix="fence-", dir=folder) as place:
            for own in ("tree", "home"):
                os.mkdir(f"{place}/{own}")
            Path(place, "key").write_text("x")
            shown = (os.path.realpath(sys.executable), os.path.realpath(sys.prefix))
            view = View(f"{place}/tree", f"{place}/home", True, Network.NONE, str(folder), system, shown)
            done = subprocess.run(
                [*fence(view), "sh", "-c", f"{{ {_TRIAL}; }} 2>/dev/null", "sh", place],
                env={"PATH": os.defpath}, cwd="/", stdin=subprocess.DEVNULL, capture_output=True,
                timeout=TRIAL_S, check=False, start_new_session=True,
            )  # fmt: skip
            return done.returncode == 0 and not os.path.exists(f"{place}/out")
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
