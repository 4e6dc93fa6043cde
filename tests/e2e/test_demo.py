"""`pancode fleet demo` from outside: a fresh HOME, no network, Ctrl-C, --keep; nothing may be left behind.

Each takes up to a minute, since the demo really brings up a fleet and loses a node agent.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crowd import crowded
from tests.e2e.leavings import end_all, left_in, no_network
from tests.e2e.owner import PATH, until

pytestmark = pytest.mark.slow

COMMAND = [sys.executable, "-m", "pancode", "fleet", "demo"]
PLAIN = 61_234
"""The id of nobody here."""
_SHOW = """kept=$(mktemp -d); mount --bind "$1" "$kept"
mount -t tmpfs -o mode=755 tmpfs "/$(echo "$1" | cut -d/ -f2)"
mkdir -p "$1"; mount --bind "$kept" "$1"; umount "$kept"; rmdir "$kept"; shift; exec "$@"
"""


@pytest.fixture
def fresh() -> Iterator[dict[str, str]]:
    """The environment of somebody who has just cloned this; its temporary folder is the test's own."""
    root = Path(tempfile.mkdtemp(prefix="pd-"))
    for name in ("home", "tmp"):
        (root / name).mkdir()
    env = {"HOME": str(root / "home"), "TMPDIR": str(root / "tmp"), "PATH": PATH, "LANG": "C.UTF-8"}
    try:
        yield env
    finally:  # not by `demo --remove`: too long for a session that Ctrl-C ends, and not for another user's
        end_all(env)
        shutil.rmtree(root, ignore_errors=True)


def as_a_plain_user() -> list[str]:
    """The way to be somebody without any right; where Python lies in root's own home, with a view of it."""
    none = ("--inh-caps=-all", "--bounding-set=-all")
    become = ["setpriv", f"--reuid={PLAIN}", f"--regid={PLAIN}", "--clear-groups", *none]
    again = "import subprocess, sys; subprocess.run([sys.executable, '-c', ''], check=True)"
    if subprocess.run([*become, sys.executable, "-c", again], capture_output=True).returncode == 0:
        return become
    return ["unshare", "-m", "sh", "-euc", _SHOW, "sh", sys.base_prefix, *become]


def test_a_plain_user_without_a_network_is_shown_all_and_nothing_is_left(fresh: dict[str, str]) -> None:
    """An own uid, own HOME, no right of root's: what `make demo` is for whoever has cloned this."""
    become = as_a_plain_user() if os.geteuid() == 0 else []  # else whoever runs this is one already
    for path in (fresh["HOME"], fresh["TMPDIR"], Path(fresh["HOME"]).parent) if become else ():
        os.chown(path, PLAIN, PLAIN)
    argv = [*no_network(), *become, *COMMAND]
    done = subprocess.run(argv, env=fresh, capture_output=True, text=True, timeout=240 * crowded())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "checks held, all of them" in done.stdout
    assert "\n   NO " not in done.stdout
    for shown in (
        "kill -9",
        "suspect",
        "verify_failed",
        "PASS",
        "TAMPERED",
        "landed; the gate was not repeated",
        "is gone",
    ):
        assert shown in done.stdout, shown
    until(lambda: left_in(fresh) == ([], []), "nothing is left", 10, lambda: left_in(fresh))


@pytest.mark.parametrize("said", ["fleet up", "ok   the node agent of birch is dead"])
def test_ctrl_c_takes_everything_away(fresh: dict[str, str], said: str) -> None:
    demo = subprocess.Popen(
        COMMAND,
        env=fresh,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert demo.stdout is not None
    try:
        told = ""
        for line in demo.stdout:
            told += line
            if said in line:
                break
        os.killpg(demo.pid, signal.SIGINT)  # as a terminal does: every process of the command gets it
        told += demo.stdout.read()
        assert demo.wait(60 * crowded()) == 130, told
        assert "Removing everything" in told and "\n   NO " not in told
    finally:
        if demo.poll() is None:
            demo.kill()
            demo.wait(10 * crowded())
        demo.stdout.close()
    until(lambda: left_in(fresh) == ([], []), "nothing is left", 10, lambda: left_in(fresh))


def test_keep_leaves_a_fleet_that_works_and_remove_takes_it_away(fresh: dict[str, str]) -> None:
    done = subprocess.run(
        [*COMMAND, "--keep", "--json"], env=fresh, capture_output=True, text=True, timeout=240 * crowded()
    )
    told = json.loads(done.stdout)
    assert done.returncode == 0 and told["ok"], told
    assert len(told["checks"]) >= 18 and all(check["ok"] for check in told["checks"])
    home = {**fresh, "PANCODE_HOME": f"{told['kept']}/desk"}

    def pancode(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "pancode", *words]
        return subprocess.run(argv, env=home, capture_output=True, text=True, timeout=60 * crowded())

    states = {n["name"]: n["state"] for n in json.loads(pancode("fleet", "status", "--json").stdout)["nodes"]}
    assert states == {"alder": "online", "birch": "online"}
    hello = pancode("dispatch", "--runtime", "shell", "--workspace", "none", "--", "echo", "still here")
    assert hello.returncode == 0 and "still here" in hello.stdout, hello
    removed = pancode("fleet", "demo", "--remove", "--json")
    assert json.loads(removed.stdout) == {"removed": 1}, removed
    until(lambda: left_in(fresh) == ([], []), "nothing is left", 10, lambda: left_in(fresh))
    assert json.loads(pancode("fleet", "demo", "--remove", "--json").stdout) == {"removed": 0}


def test_what_a_killed_demo_has_left_is_taken_away_by_the_next(fresh: dict[str, str]) -> None:
    demo = subprocess.Popen(COMMAND, env=fresh, stdout=subprocess.PIPE, text=True, start_new_session=True)
    assert demo.stdout is not None
    for line in demo.stdout:
        if "fleet up" in line:
            break
    time.sleep(1)
    demo.kill()
    demo.wait(10 * crowded())
    demo.stdout.close()
    assert left_in(fresh) != ([], [])
    done = subprocess.run(
        [*COMMAND, "--remove"], env=fresh, capture_output=True, text=True, timeout=60 * crowded()
    )
    assert "left by an earlier demo" in done.stdout
    until(lambda: left_in(fresh) == ([], []), "nothing is left", 10, lambda: left_in(fresh))
