"""A node agent from the bundle of each other Python: fetched for it, started by it, and it works.

The machine's own Python is that of every other test here. The other ones lie where pyenv puts them.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import script, until
from tests.lab import Lab
from tests.pythons import of_pyenv

pytestmark = [pytest.mark.slow, pytest.mark.bare_hosts]  # a fleet there would find its Python gone

NOT_NEEDED = ("test", "site-packages", "__pycache__", "*.a", "idlelib", "tkinter", "ensurepip", "share")
TASK = script("write made.txt 'by the agent\\n'", "usage 100 20 0.03", "answer 'made it'")


@contextmanager
def alone(lab: Lab, k: int, python: Path) -> Iterator[None]:
    """Host k has no other Python than this one, in its user's home."""
    home = Path(lab.path(k, "disk", "home"))
    place = home / ".pyenv/versions" / python.name
    shutil.copytree(python, place, symlinks=True, ignore=shutil.ignore_patterns(*NOT_NEEDED))
    _loads_from_beside(place / "bin" / f"python{'.'.join(python.name.split('.')[:2])}", python)
    owned = lab.hosts[k]["uid"]
    for path in (home / ".pyenv", *(home / ".pyenv").rglob("*")):
        os.chown(path, owned, owned, follow_symlinks=False)
    lab.fault([k], "no-python")
    try:
        yield
    finally:
        lab.fault([k], "no-python", on=False)
        shutil.rmtree(home / ".pyenv")


def _loads_from_beside(program: Path, built_for: Path) -> None:
    """Where it looks for its own library is written in it as an absolute path: here it is beside it."""
    there, beside = f"{built_for}/lib".encode(), b"$ORIGIN/../lib"
    program.write_bytes(program.read_bytes().replace(there + b"\0", beside.ljust(len(there), b"\0") + b"\0"))


@pytest.mark.parametrize("minor", ["3.12", "3.13"])
def test_the_bundle_of_another_python_runs_and_works(healed: Lab, minor: str) -> None:
    """Over 30 s: the libraries are fetched for it, and compiled on the host."""
    python = of_pyenv(minor)
    if python is None:
        pytest.skip(f"no Python {minor} of pyenv on this machine")
    with alone(healed, 1, python), own_fleet(healed, [1], fresh=[1]) as owner:
        up(owner, 1)
        until(lambda: owner.seen("node1") == "online", "it is online", told=owner.nodes)
        agent = "readlink /proc/$(cat /home/ops/.pancode-node/f-*/run/agent.pid)/exe"
        assert f"/.pyenv/versions/{python.name}/" in healed.run(1, agent).stdout
        top = owner.repository("other")
        words = ("--runtime", "scripted", "--node", "node1", "--verify", "test -f made.txt", TASK)
        run = owner.ask("dispatch", *words, cwd=top, timeout_s=150)
        assert (run["outcome"], run["files_changed"]) == ("done", ["made.txt"]), run
        assert owner.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
        said = owner.run("fleet", "up", "node1", "--json", timeout_s=150).ok().json()
        assert [result["changed"] for result in said["results"]] == [[]]
        owner.run("node", "rm", "node1", "--yes", timeout_s=150).ok()
