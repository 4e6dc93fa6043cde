"""Row t: from a piece of an answer on a node to an attached face, over SSH with 20 ms of round trip."""

from __future__ import annotations

import base64
import json
import os
import pty
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Thread

from tests.bench.figures import Goal, Row, median, percentile
from tests.bench.ours import Api, OurFleet
from tests.bench.processes import cpu_ms, cpu_of, peak_kib, peak_of
from tests.clis.hands import HANDS
from tests.clis.launched import NATIVE
from tests.e2e.programs import PORT, await_state, give_secrets, model_on, on_host
from tests.e2e.tidy import fingerprint
from tests.lab import Lab, missing, own_name, reap

ONE_WAY_MS, ANSWER_MS, QUESTION_MS, MEMORY_MB = 10.0, 150.0, 300.0, 150.0
PIECES, EVERY_S, THINKS_S, PATIENCE_S = 10, 0.15, 0.7, 60.0
STAMP = re.compile(rb"1\d{9}\.\d{3}(?=;)")
SHORT = "short words"
BUILDER = ("--agent", "builder", "--runtime", "native", "--model", NATIVE.model, "--safety", "full-auto")
RULES = "rules:\n  - {pattern: 'printf asked-', type: bash, action: ask, reason: look first}\n"
LIMIT = (
    "The time stamp is the model server's, so the worker's own reading is in it. Then: the worker's line, "
    "the node's next look at it, 10 ms of wire, the depot's disk, and the face."
)


@dataclass
class SeenText:
    """What a face was given: (milliseconds on its way, stamp) of each time stamp, in order, and all text."""

    pieces: list[tuple[float, bytes]] = field(default_factory=list)
    asked: list[tuple[float, bytes]] = field(default_factory=list)
    """The same of questions that wait for a user."""
    text: bytes = b""
    pid: int = 0
    """The process that shows it, where it is not this one."""

    def add(self, data: bytes) -> None:
        now, done = time.time(), len(self.text)
        self.text += data
        known = {stamp for _, stamp in self.pieces}  # a terminal is painted again
        for found in STAMP.finditer(self.text, max(0, done - 14)):
            if found[0] not in known:
                known.add(found[0])
                self.pieces.append(((now - float(found[0])) * 1000, found[0]))

    def ask(self, words: str) -> None:
        found = STAMP.search(words.encode())
        if found and found[0] not in {stamp for _, stamp in self.asked}:
            self.asked.append(((time.time() - float(found[0])) * 1000, found[0]))


@contextmanager
def _streamed(ours: OurFleet, session: str) -> Iterator[SeenText]:
    """A face of the API: `GET /v1/sessions/ID/stream`."""
    seen, line = SeenText(), socket.socket(socket.AF_UNIX)
    line.connect(str(ours.owner.fleet_home / "api.sock"))
    line.sendall(f"GET /v1/sessions/{session}/stream HTTP/1.1\r\nHost: pancode\r\n\r\n".encode())

    def read() -> None:
        kind = b""
        for told in line.makefile("rb"):
            name, _, value = told.rstrip().partition(b": ")
            if name == b"event":
                kind = value
            elif name == b"data" and kind == b"log":
                seen.add(base64.b64decode(json.loads(value)["b64"]))
            elif name == b"data" and kind == b"session" and (asks := json.loads(value)["asks"]):
                seen.ask(asks["words"])

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        line.shutdown(socket.SHUT_RDWR)
        reader.join()


@contextmanager
def _attached(ours: OurFleet, session: str) -> Iterator[SeenText]:
    """`pancode attach --plain` at a terminal: a screen would draw its cells anew."""
    seen, (above, below) = SeenText(), pty.openpty()
    argv = ours.owner.argv("attach", "--plain", session)
    face = subprocess.Popen(argv, env=ours.owner.env, stdin=below, stdout=below, stderr=below)
    os.close(below)
    seen.pid = face.pid

    def read() -> None:
        with suppress(OSError):  # the terminal is gone with the last who had it
            while data := os.read(above, 1 << 16):
                seen.add(data)

    reader = Thread(target=read, daemon=True)
    reader.start()
    try:
        yield seen
    finally:
        face.terminate()
        face.wait()
        reader.join()
        os.close(above)


def talking(tell: Callable[[str], None], turns: int, idle_s: float, long: int) -> list[Row]:
    """Turns of a real session on a real SSH host, and what it costs while it waits for a message, and after
    `long` turns."""
    lacks = missing()
    if lacks:
        raise RuntimeError("real SSH hosts need: " + "; ".join(lacks))
    reap()
    with Lab(own_name("b"), owned=True).up(1) as lab, OurFleet() as ours:
        owner = ours.owner
        owner.know(lab)
        owner.run("node", "add", "node1", "--accept-fingerprint", fingerprint(lab.hosts[1]["host_key"])).ok()
        owner.run("fleet", "up", "node1", timeout_s=180).ok()
        given = NATIVE.env(f"http://127.0.0.1:{PORT}")
        give_secrets(lab, 1, {name: value for name, value in given.items() if "RETRIES" not in name})
        await_state(owner, 1, "native", "ok")
        top = owner.repository("talk", {"notes.txt": "alpha\n"})
        (top / "pansafety.yaml").write_text(RULES)
        lab.slow([1], delay=ONE_WAY_MS)
        before = _cost(ours, lab, idle_s)
        with model_on(lab, 1, _script(turns)):
            where = (*BUILDER, "--node", "node1")
            owner.run("chat", *where, "begin", cwd=top, timeout_s=120, stdin="").ok()
            session = owner.ask("sessions", "show", "last")["session"]
            with _streamed(ours, session) as face, _attached(ours, session) as terminal:
                api = ours.api()
                _until(lambda: b"Done." in terminal.text, "the terminal is attached")
                for turn in range(2, 2 * turns + 2):
                    _say(api, session, turn, face)
                _until(lambda: len(terminal.pieces) >= len(face.pieces), "the terminal has all of it")
                idle = _cost(ours, lab, idle_s)
                for turn in range(2 * turns + 2, long + 1):
                    _say(api, session, turn, face, SHORT)
                memory = _peaks_mb(ours, lab, terminal.pid)
        tell(f"t: % of a core, node agent and coordinator: {before} before, {idle} with an idle session")
        return [*_rows(face, terminal), *_idle_rows(before, idle), *_memory_rows(long, memory)]


def _script(turns: int) -> dict[str, object]:
    """Turn 1; then an answer in pieces and a question, in turn. Each piece has the time when it was sent."""
    pieces = {"text": "${now};" * PIECES, "chunk_chars": 7, "chunk_delay": EVERY_S, "latency": THINKS_S}
    asks = {**HANDS["native"].shell("printf asked-%s '${now};'"), "chunk_chars": 500, "latency": THINKS_S}
    done = {"text": "Done."}
    short = {"if": {"prompt": SHORT}, "turns": [done]}
    return {"rules": [short], "count": "assistant", "turns": [done, *[pieces, asks, done] * turns]}


def _say(api: Api, session: str, turn: int, face: SeenText, words: str = "go on") -> None:
    """One turn, to its end; its question is answered with yes."""
    asked = len(face.asked)
    api.call("POST", f"/v1/sessions/{session}/words", {"text": f"{words} {turn}"})
    if turn % 2 and words != SHORT:
        _until(lambda: len(face.asked) > asked, "it asks")
        api.call("POST", f"/v1/runs/{session}/approve", {"call": asked + 1})
    _until(lambda: face.text.count(b'"type": "turn_end"') >= turn, f"turn {turn} ends")


def _until(holds: Callable[[], bool], what: str) -> None:
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > PATIENCE_S:
            raise TimeoutError(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(0.01)


def _cost(ours: OurFleet, lab: Lab, seconds: float) -> tuple[float, float]:
    """Percent of a core that the host's node agent and the coordinator use."""
    time.sleep(5)  # what was begun before has ended
    began = _used_ms(ours, lab)
    time.sleep(seconds)
    agent, desk = (
        (after - was) / seconds / 10 for was, after in zip(began, _used_ms(ours, lab), strict=True)
    )
    return round(agent, 3), round(desk, 3)


def _used_ms(ours: OurFleet, lab: Lab) -> tuple[float, float]:
    there = on_host(lab, 1, "cat /proc/$(cut -d' ' -f1 ~/.pancode-node/f-*/run/agent.pid)/stat")
    return cpu_of(there), cpu_ms((ours.coordinator_pid,))


def _peaks_mb(ours: OurFleet, lab: Lab, terminal: int) -> dict[str, float]:
    """The most memory that each process has held; on the host, also of the processes of the run."""
    there = "cat /proc/$(cut -d' ' -f1 ~/.pancode-node/f-*/run/agent.pid)/status"
    of_run = "cat /proc/$(pgrep -f '^[^ ]*python.*{}' | head -1)/status"  # and not the walls around it
    peaks = {
        "agent": peak_of(on_host(lab, 1, there)),
        "shim": peak_of(on_host(lab, 1, of_run.format("/shim/shim.py"))),
        "worker": peak_of(on_host(lab, 1, of_run.format("/native/program.py"))),
        "desk": peak_kib(ours.coordinator_pid),
        "attach": peak_kib(terminal),
    }
    return {who: kib / 1024 for who, kib in peaks.items()}


def _memory_rows(turns: int, peaks: dict[str, float]) -> list[Row]:
    what = {"agent": "node agent", "shim": "shim", "worker": "native worker", "desk": "coordinator"}
    limit = "The most that the process has held since it began; a worker's own programs are not in it."
    bound = f"the bound of {MEMORY_MB:g} MB"
    return [
        Row(
            f"t memory {who}",
            f"memory of the {what.get(who, 'face: `pancode attach`')} after {turns} turns",
            "MB",
            peak,
            MEMORY_MB,
            bound,
            Goal(most=1.0),
            limit,
        )
        for who, peak in peaks.items()
    ]


def _rows(face: SeenText, terminal: SeenText) -> list[Row]:
    asked = {stamp for _, stamp in face.asked}
    samples = {
        "first": _places(face, asked, 0),
        "last": _places(face, asked, PIECES - 1),
        "attach first": _places(terminal, asked, 0),
        "attach last": _places(terminal, asked, PIECES - 1),
    }
    words = {"first": "the first piece", "last": "the last piece"}
    rows = []
    for name, found in samples.items():
        where = "`pancode attach` at a terminal" if name.startswith("attach") else "a face of the API"
        what = f"{words[name.split()[-1]]} of an answer at {where}, 20 ms of round trip"
        rows += _pair(name, what, found, ANSWER_MS)
    what = "a question about a command at a face of the API, 20 ms of round trip"
    return [*rows, *_pair("asks", what, [ms for ms, _ in face.asked], QUESTION_MS)]


def _places(seen: SeenText, asked: set[bytes], place: int) -> list[float]:
    """Milliseconds of the piece at that place of each answer."""
    return [ms for ms, stamp in seen.pieces if stamp not in asked][place::PIECES]


def _pair(name: str, what: str, samples: list[float], most: float) -> list[Row]:
    bound = f"the bound of {most:g} ms"
    return [
        Row(f"t {name} {kind}", f"{what}, {kind}", "ms", value, most, bound, Goal(most=1.0), LIMIT)
        for kind, value in (("p50", median(samples)), ("p95", percentile(samples, 0.95)))
    ]


def _idle_rows(before: tuple[float, float], idle: tuple[float, float]) -> list[Row]:
    limit = (
        "The peer is the same process before there was a session: what is more, a session that waits costs."
    )
    return [
        Row(
            f"t idle {who}",
            f"{what} with a session that waits for a message",
            "%",
            after,
            was,
            "itself",
            None,
            limit,
        )
        for who, what, was, after in zip(
            ("agent", "desk"), ("node agent", "coordinator, two faces attached"), before, idle, strict=True
        )
    ]
