"""Schedules and notices over a real coordinator: fired and told; never twice after a kill."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
import yaml

from tests.e2e.owner import Owner, until

pytestmark = pytest.mark.slow
SHELL = ("--runtime", "shell", "--node", "node1", "--workspace", "none")


class Receiver:
    """A server on loopback that keeps what is posted."""

    def __init__(self) -> None:
        self.came: list[tuple[str, dict[str, str], bytes]] = []
        came = self.came

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                came.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    def at(self, path: str) -> list[tuple[str, dict[str, str], bytes]]:
        return [one for one in self.came if one[0] == path]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    threading.Thread(target=made.server.serve_forever, daemon=True).start()
    yield made
    made.server.shutdown()
    made.server.server_close()


def firings(fleet: Owner, name: str) -> list[dict[str, Any]]:
    return list(fleet.ask("schedule", "show", name)["firings"])


def test_a_failure_fires_a_schedule_and_is_told(fleet: Owner, receiver: Receiver) -> None:
    settings = fleet.fleet_home / "pancode.yaml"
    before = settings.read_text() if settings.exists() else None
    address = f"json://127.0.0.1:{receiver.port}/user"
    fleet.run("config", "secret", "phone", stdin=address).ok()
    notify = {"channels": {"phone": {"url": "secret:phone"}}}
    settings.write_text(json.dumps({**(yaml.safe_load(before or "") or {}), "notify": notify}))
    try:
        sent = fleet.run("admin", "notify", "--test", "phone").ok()
        assert "sent" in sent.out and len(receiver.at("/user")) == 1
        fleet.run("schedule", "add", "look", "--on", "run.failed", *SHELL, "echo about $RUN").ok()
        bad = fleet.dispatch(*SHELL, "exit 3")
        until(lambda: [f for f in firings(fleet, "look") if f["state"] == "begun"], "the firing", 40)
        run = fleet.ended(firings(fleet, "look")[0]["run"])
        assert (run["outcome"], run["created_by"]) == ("done", "schedule:look")
        assert f"about {bad}" in fleet.run("runs", "logs", run["run"]).ok().out
        until(lambda: len(receiver.at("/user")) == 2, "a minute after the message before", 100)
        assert bad in receiver.at("/user")[1][2].decode()
        assert address not in fleet.log() and address not in json.dumps(fleet.ask("admin", "notify"))
    finally:
        fleet.run("schedule", "rm", "look")
        settings.unlink() if before is None else settings.write_text(before)


def test_a_killed_coordinator_fires_once(fleet: Owner) -> None:
    fleet.run("schedule", "add", "often", "--cron", "* * * * *", "--overlap", *SHELL, "true").ok()
    try:
        fleet.run("schedule", "run", "often").ok()
        pid = fleet.coordinator_pid()
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        until(lambda: all(f["state"] == "begun" for f in firings(fleet, "often")), "it has begun", 60)
        told = firings(fleet, "often")
        begun = [f["run"] for f in told]
        assert len(set(begun)) == len(begun) and len({f["key"] for f in told}) == len(told)
        listed = {r["run"] for r in fleet.ask("runs", "100")["runs"] if r["agent"]}
        assert set(begun) <= listed
    finally:
        fleet.run("schedule", "rm", "often").ok()


def test_what_can_never_fire_is_refused(fleet: Owner) -> None:
    for words, what in (
        (("--cron", "0 0 31 2 *"), "can never fire"),
        (("--at", "2001-01-01 08:00"), "never fires"),
        (("--on", "run.fails"), "run.failed"),
    ):
        said = fleet.run("schedule", "add", "never", *words, *SHELL, "true")
        assert said.code in (2, 4) and what in said.err, said.err
