"""Somebody else's Redis by its address, over TCP and over a socket: the same work, no server of ours."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.crowd import crowded
from tests.e2e.fleets import own_fleet, up
from tests.e2e.owner import script, until
from tests.lab import Lab
from tests.ports import find_free_port

pytestmark = pytest.mark.slow


@contextmanager
def _debian(kind: str) -> Iterator[str]:
    """Debian's redis-server with a password, for the time of a test; its address as PanCode takes it."""
    program = shutil.which("redis-server")
    assert program is not None, "redis-server is not installed: make system"
    folder = Path(tempfile.mkdtemp(prefix="pr-"))
    port = find_free_port()
    place = ["--port", str(port), "--bind", "127.0.0.1"] if kind == "tcp" else ["--port", "0"]
    url = f"redis://:s3cret@127.0.0.1:{port}/0" if kind == "tcp" else f"unix://:s3cret@{folder}/r.sock"
    more = ["--dir", str(folder), "--requirepass", "s3cret", "--unixsocket", f"{folder}/r.sock"]
    with open(folder / "log", "wb") as log:
        child = subprocess.Popen([program, *place, *more], stdout=log, stderr=log)
    try:
        until(lambda: (folder / "r.sock").exists(), "redis-server answers", 10)
        yield url
    finally:
        child.terminate()
        child.wait(10 * crowded())
        shutil.rmtree(folder)


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_one_run_through_debians_redis(healed: Lab, kind: str) -> None:
    with _debian(kind) as url, own_fleet(healed, [2], extra={"PANCODE_REDIS_URL": url}) as owner:
        up(owner, 2)
        assert not (owner.fleet_home / "valkey" / "server.json").exists(), "no server of ours"
        top = owner.repository("external")
        task = script("write made.txt 'made\\n'", "usage 10 5 0.02")
        run = owner.ask("dispatch", "--runtime", "scripted", "--node", "node2", task, cwd=top)
        assert (run["outcome"], run["files_changed"]) == ("done", ["made.txt"])
        assert owner.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
        assert owner.ask("fleet", "up", "node2", timeout_s=120)["results"][0]["changed"] == []


def test_an_address_that_nodes_could_not_use_is_refused_with_the_fix(healed: Lab) -> None:
    with _debian("tcp") as url, own_fleet(healed, [], extra={"PANCODE_REDIS_URL": f"{url[:-1]}3"}) as owner:
        said = owner.run("fleet", "status")
        assert said.code != 0 and "database" in said.out + said.err, said
