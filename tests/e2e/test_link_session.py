"""Nodes whose sshd forbids every kind of forwarding: linked through one SSH session, by command line only."""

from __future__ import annotations

import json
import os
import signal
import socket
import socketserver
import subprocess
import threading
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from tests.e2e.fleets import own_fleet, up
from tests.e2e.ground import Ground
from tests.e2e.owner import Owner, script, until
from tests.lab import Lab

pytestmark = pytest.mark.slow
FORBIDDEN = ["DisableForwarding yes"]


def one_run(owner: Owner) -> None:
    """With code there and back, logs and a receipt."""
    top = owner.home / "project"
    top = top if top.exists() else owner.repository(top.name)
    task = script("say hello", "write made.txt 'made\\n'", "usage 10 5 0.02")
    run = owner.ask("dispatch", "--runtime", "scripted", "--node", "node1", task, cwd=top)
    assert (run["outcome"], run["files_changed"]) == ("done", ["made.txt"]), run
    assert "+made" in owner.run("runs", "diff", run["run"]).ok().out
    assert "hello" in owner.run("runs", "logs", run["run"]).ok().out
    assert owner.ask("receipt", "verify", run["run"])["verdict"] == "PASS"


def whole(owner: Owner, run: str) -> None:
    """Done, once, and every line there."""
    ended = owner.ended(run, 90)
    assert (ended["outcome"], ended["attempt"], ended["fence"]) == ("done", 1, 1), ended
    assert owner.run("runs", "logs", run).ok().out == "".join(f"line {i}\n" for i in range(1, 9))
    assert owner.ask("receipt", "verify", run)["verdict"] == "PASS"


def programs(lab: Lab) -> int:
    """The node's ends of the tunnels that run on the first host."""
    return int(lab.run(1, "pgrep -fc 'node_agent.link.[s]ession_tunnel' || :").stdout)


def test_work_goes_through_one_session_and_a_removed_node_is_clean(healed: Lab) -> None:
    """Also with the settings of an earlier version, which are named and do nothing."""
    healed.sshd([1], "restart", FORBIDDEN)
    with own_fleet(healed, [1], extra={"PANCODE_DIRECT_LISTEN": "10.255.255.1:7843"}) as owner:
        said = owner.run("fleet", "up", "node1", timeout_s=180).ok()
        assert "PANCODE_DIRECT_LISTEN: direct.listen" in said.err, said
        one_run(owner)
        assert programs(healed) == 1
        assert owner.ask("fleet", "up", "node1", timeout_s=180)["results"][0]["changed"] == []
        assert "PANCODE_DIRECT_LISTEN: direct.listen" in owner.run("fleet", "status").ok().out
        owner.run("node", "rm", "node1", "--yes").ok()
        until(lambda: programs(healed) == 0, "the tunnel's program has ended")


def test_a_cut_and_a_coordinator_that_was_killed_cost_nothing(healed: Lab) -> None:
    """Takes half a minute: a run continues through a cut network, another through a coordinator's death."""
    healed.sshd([1], "restart", FORBIDDEN)
    with own_fleet(healed, [1]) as owner:
        up(owner, 1)
        slow = "for i in $(seq 1 8); do echo line $i; sleep 1; done"
        words = ("--runtime", "shell", "--node", "node1", "--workspace", "none", slow)
        cut = owner.dispatch(*words)
        owner.running(cut)
        healed.drop([1])
        owner.missed("node1", 60)
        healed.heal([1])
        whole(owner, cut)
        orphan = owner.dispatch(*words)
        owner.running(orphan)
        pid = owner.coordinator_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        whole(owner, orphan)
        one_run(owner)
        until(lambda: programs(healed) == 1, "the tunnel of the connection that was cut has ended")


def test_a_clone_of_a_node_is_noticed_behind_the_session(healed: Lab) -> None:
    healed.sshd([1], "restart", FORBIDDEN)
    with own_fleet(healed, [1]) as owner, ExitStack() as running:
        up(owner, 1)
        first, second = (Ground(owner, healed, k) for k in (1, 2))
        _clone(first.home, second.home, healed.hosts[2]["uid"], running)
        assert owner.ask("node", "show", "node1")["quarantined"] is None
        run = f"python3 -I -S -B {second.inside}/current/start.py run --home {second.inside}"
        uid = healed.hosts[2]["uid"]
        running.callback(healed.run, 2, "pkill -f current/start.py; rm -rf /home/ops/.pancode-node")
        started = healed.run(2, f"setpriv --reuid {uid} --clear-groups nohup {run} >/tmp/clone 2>&1 &")
        assert started.returncode == 0, started
        until(lambda: owner.ask("node", "show", "node1")["quarantined"], "the clone is noticed")
        assert "two nodes" in owner.ask("node", "show", "node1")["quarantined"]


class _Bridge(socketserver.ThreadingUnixStreamServer):
    """Leads each connection at one socket to another."""

    daemon_threads = True

    def __init__(self, here: Path, there: Path) -> None:
        here.unlink(missing_ok=True)
        self.there = there
        super().__init__(str(here), _Across)
        here.chmod(0o666)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, request: object, client_address: object) -> None:
        """One side has ended."""


class _Across(socketserver.BaseRequestHandler):
    def handle(self) -> None:
        assert isinstance(self.server, _Bridge)
        with socket.socket(socket.AF_UNIX) as far:
            far.connect(str(self.server.there))
            threading.Thread(target=_copy, args=(self.request, far), daemon=True).start()
            _copy(far, self.request)


def _copy(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)


def _clone(first: Path, second: Path, uid: int, running: ExitStack) -> None:
    """A copy of the disk, whose node agent gets through the first machine's tunnel."""
    second.parent.mkdir(exist_ok=True)
    subprocess.run(["cp", "-a", str(first), str(second.parent)], check=True)
    subprocess.run(["chown", "-hR", f"{uid}:{uid}", str(second.parent)], check=True)
    folder = json.loads((first / "s/current").read_text())["generation"]
    for name in ("redis.sock", "depot.sock"):
        bridge = _Bridge(second / "s" / folder / name, first / "s" / folder / name)
        running.callback(bridge.server_close)
        running.callback(bridge.shutdown)
