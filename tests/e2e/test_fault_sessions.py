"""A session through the death of each process, a cut link and a reboot: no loss unsaid, nothing twice."""

from __future__ import annotations

import base64
import json
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from pancode.interfaces.client.client import Client, path_of
from tests.clis.launched import NATIVE
from tests.e2e.ground import Ground, kill_coordinator
from tests.e2e.owner import Owner, until
from tests.e2e.programs import PORT, await_state, give_prices, give_secrets, installed, model_on
from tests.lab import Lab

pytestmark = pytest.mark.slow
K = 2
FIRST, HALF, REST, LATER = "It is plum.", "Half an answ", "er and the rest.", "I said plum."


def says(text: str, **more: Any) -> dict[str, Any]:
    return {"text": text, "usage": {"input": 1200, "output": 34}, **more}


@dataclass
class Talk:
    """A session whose second turn is held in the middle of its answer, and a face that stays attached."""

    fleet: Owner
    lab: Lab
    go: Path
    shown: Path
    run: str = ""
    face: subprocess.Popen[str] | None = None

    @property
    def host(self) -> Ground:
        return Ground(self.fleet, self.lab, K)

    def look(self) -> dict[str, Any]:
        """The session as JSON; a coordinator that is gone is started by the command."""
        return dict(self.fleet.ask("sessions", "show", self.run))

    def attach(self, *words: str) -> None:
        """A face from now on; another one begins with nothing shown."""
        with self.shown.open("w") as out:
            self.face = subprocess.Popen(
                self.fleet.argv("attach", *words, self.run),
                env=self.fleet.env,
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=subprocess.DEVNULL,
                text=True,
            )

    def seen(self, text: str) -> None:
        until(lambda: text in self.shown.read_text(), f"{text!r} is seen", 90, self.shown.read_text)


def kill_program(talk: Talk) -> None:
    """The worker itself; what stands around it sees it end."""
    known = str(talk.host.entries(talk.run)[-1].identity)
    (pid,) = [
        pid
        for pid, argv in talk.host.processes()
        if argv[4:] and argv[4].endswith("native/program.py") and any(known in one for one in argv)
    ]
    os.kill(pid, signal.SIGKILL)


def kill_face(talk: Talk) -> None:
    assert talk.face is not None
    talk.face.kill()
    talk.face.communicate()


def cut_link(talk: Talk) -> None:
    talk.lab.drop([K])
    talk.fleet.missed(talk.host.name)


def restart(talk: Talk) -> None:
    talk.lab.poweroff([K])
    talk.fleet.missed(talk.host.name)
    talk.lab.boot([K])


WAITS, LOST, RESTS = "waits for you", "turn lost", "rests"
FAULTS: dict[str, tuple[Callable[[Talk], object], str]] = {
    "program": (kill_program, LOST),
    "shim": (lambda talk: talk.host.kill_shim(talk.run), LOST),
    "node agent": (lambda talk: talk.host.kill_agent(), WAITS),
    "coordinator": (lambda talk: kill_coordinator(talk.fleet), WAITS),
    "face": (kill_face, WAITS),
    "link": (cut_link, WAITS),
    "machine": (restart, LOST),
    "machine between turns": (restart, RESTS),
}
"""What is done in the middle of a turn, where it does not say otherwise, and how the session is then."""


def pieces(
    fleet: Owner, run: str, since: str, enough: Callable[[bytes], bool] = lambda data: False
) -> tuple[dict[str, bytes], str]:
    """What a face gets that asks from this number on: the bytes of each run, and the next number."""
    found: dict[str, bytes] = {}
    client = Client(fleet.fleet_home, starts=False)
    for event in client.events("GET", path_of("sessions", run, "stream"), query={"since": since or None}):
        if event.kind == "log":
            of = event.data["run"]
            found[of] = found.get(of, b"") + base64.b64decode(event.data["b64"])
            since = f"{of}:{event.data['next']}"
            if enough(found[of]):
                break
    return found, since


@contextmanager
def talking(fleet: Owner, lab: Lab, tmp_path: Path) -> Iterator[Talk]:
    talk = Talk(fleet, lab, tmp_path / "go", tmp_path / "shown")
    with installed(lab, "native", [K]):
        given = NATIVE.env(f"http://127.0.0.1:{PORT}")
        give_secrets(lab, K, dict(given))
        give_prices(lab, K, {NATIVE.model: "1 1 1 1"})
        await_state(fleet, K, "native", "ok")
        try:
            yield talk
        finally:
            talk.go.touch()
            if talk.face is not None:
                talk.face.kill()
                talk.face.communicate()


def asked_in(bodies: Path) -> list[list[dict[str, Any]]]:
    """The conversations with which a model was asked, oldest first."""
    return [json.loads(one.read_text())["messages"] for one in sorted(bodies.iterdir())]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_session_goes_on_after_it(fleet: Owner, healed: Lab, tmp_path: Path, fault: str) -> None:
    """Each takes about 30 s: a session of its own on a real host, and mostly a second interactive run."""
    harm, over = FAULTS[fault]
    goes_on, is_begun = over == WAITS, over != RESTS
    where = ("--runtime", "native", "--model", NATIVE.model, "--node", f"node{K}", "--workspace", "none")
    turns = [says(FIRST), says(HALF + REST, fault={"hold": str(tmp_path / "go")})]
    with talking(fleet, healed, tmp_path) as talk:
        with model_on(healed, K, {"count": "assistant", "turns": turns}) as log:
            fleet.run("chat", "--agent", "builder", *where, "which fruit?", timeout_s=120).ok()
            talk.run = str(fleet.ask("sessions", "show", "last")["session"])
            talk.attach()
            talk.seen(FIRST)
            if is_begun:
                fleet.ask("tell", talk.run, "tell me more")
                talk.seen(HALF)
            newest = (HALF if is_begun else FIRST).encode()
            first, number = pieces(fleet, talk.run, "", lambda data: newest in data)
            harm(talk)
            talk.go.touch()
            if fault == "link":
                healed.heal([K])
            until(lambda: talk.look()["state"] == over, f"{over} after the fault", 90, talk.look)
            asked = asked_in(log.parent / "bodies")
        if fault == "face":
            talk.attach("--since", number)
        told = fleet.run("sessions", "show", talk.run).ok().out
        again = f'send its messages again, or others: pancode attach {talk.run} "..."'
        shown_as = "suspended" if over == RESTS else over
        assert shown_as in told and (again in told) is (over == LOST), told
        with model_on(healed, K, {"turns": [says(LATER)]}) as log:
            later = fleet.ask("attach", "--once", talk.run, "which one?", timeout_s=120)
            asked += asked_in(log.parent / "bodies")
        assert (later["answer"], later["stop"]) == (LATER, "end_turn")
        assert (later["run"] == talk.run) is goes_on
        answers = [str(one["content"]) for one in asked[-1] if one["role"] == "assistant"]
        assert answers == [FIRST, HALF + REST][: 1 + goes_on], "it remembers"
        begun = ["tell me more" in json.dumps(one[-1]) for one in asked]
        assert sum(begun) == is_begun, "the words have begun a turn once"
        talk.seen(LATER)
        shown = talk.shown.read_text()
        is_old = fault != "face"  # a new one begins behind what the killed one has shown
        counts = {FIRST: is_old, HALF: is_old and is_begun, REST: goes_on, LATER: True}
        assert {text: shown.count(text) for text in counts} == counts, shown
        fleet.run("sessions", "end", talk.run).ok()
        until(lambda: talk.look()["state"] == "ended", "it has ended", 60)
        rest, _ = pieces(fleet, talk.run, number)
        for run in {talk.run, later["run"]}:
            whole = fleet.run("runs", "logs", "--raw", run).ok().out.encode()
            assert first.get(run, b"") + rest.get(run, b"") == whole, (
                "each byte once, from its last number on"
            )
            assert fleet.ask("receipt", "verify", run)["verdict"] == "PASS"
            fleet.run("budget", "settle", run, "--usd", "0.01")  # where nobody can know what a cut call cost
