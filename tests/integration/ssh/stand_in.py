"""A stand-in for the node agent's entry: makes a key, holds the lock, starts an attempt that outlives it."""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

ATTEMPT = ["sleep", "301"]


def key(home: Path) -> int:
    path = home / "key/node.key"
    if not path.exists():
        path.write_text(os.urandom(8).hex())
        path.chmod(0o600)
    print("public-half-of", path.read_text())
    return 0


def held(path: Path) -> bool:
    """As the node agent's own: who looks whether it is held has it for a moment."""
    lock = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    for _ in range(50):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.1)
    return False


def run(home: Path) -> int:
    if not held(home / "run/agent.lock"):
        return 73
    if (home / "broken").exists():
        print("the settings are broken")
        return 1
    (home / "run/agent.pid").write_text(f"{os.getpid()}\n")
    if not (home / "run/attempt.pid").exists() and os.fork() == 0:
        os.setsid()
        os.chdir(home / "work")
        (home / "run/attempt.pid").write_text(str(os.getpid()))
        os.execvp(ATTEMPT[0], ATTEMPT)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    while True:
        signal.pause()


def main() -> int:
    verb, _, home = sys.argv[1:]
    try:
        import pancode  # noqa: F401  (must not be found on a node)
    except ModuleNotFoundError:
        return {"key": key, "run": run}[verb](Path(home))
    return 99
