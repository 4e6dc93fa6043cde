"""Real agent programs on the lab's hosts: where they are put, what logs them in, the model server."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.machine.programs import environment_of
from tests.clis.install import NATIVE, CannotInstall, ensure
from tests.e2e.ground import money
from tests.e2e.owner import Owner, until
from tests.lab import Lab
from tests.tinyllama.client import argv_of

PORT = 18099
SETTLED = Decimal("0.02")
"""What a user says that a run cost; not 0, or the next of its kind would be held for at 0."""
ROOT = Path(__file__).resolve().parents[2]


def on_host(lab: Lab, k: int, script: str, stdin: str = "") -> str:
    """A shell script as the hosts' own user, as if typed there."""
    argv = [*lab.enter(k), "env", "HOME=/home/ops", "/bin/sh", "-c", script]
    done = subprocess.run(argv, input=stdin, text=True, capture_output=True, check=True)
    return done.stdout


def runtime_of(fleet: Owner, k: int, name: str) -> dict[str, Any]:
    found = [r for r in fleet.nodes()[f"node{k}"]["runtimes"] if r["name"] == name]
    return found[0] if found else {}


def await_state(fleet: Owner, k: int, name: str, state: str) -> None:
    def seen() -> dict[str, Any]:
        return runtime_of(fleet, k, name)

    until(lambda: seen().get("state") == state, f"{name} of node{k} is {state}", 60, seen)


@contextmanager
def installed(lab: Lab, name: str, nodes: Sequence[int]) -> Iterator[None]:
    """The program on the PATH of these hosts, until the end of the block; nothing logs it in then either."""
    try:
        program = None if name == NATIVE else ensure(name) / name
    except CannotInstall as exc:
        pytest.skip(f"the real {name} cannot be installed here: {exc}")
    if program and (environment := environment_of(str(program))):
        program = Path(environment, "bin/python")  # as an owner's link leads straight to it
    try:
        for k in nodes if program else ():
            on_host(lab, k, f"mkdir -p ~/.local/bin && ln -sfn {program} ~/.local/bin/{name}")
        yield
    finally:
        for k in nodes:
            on_host(
                lab,
                k,
                f"rm -f ~/.local/bin/{name} ~/.pancode-node/f-*/secrets.json ~/.pancode-node/f-*/prices.json",
            )


def give_secrets(lab: Lab, k: int, values: dict[str, str]) -> None:
    """As docs/howto/claude.md says it: the owner writes one file on the machine."""
    on_host(lab, k, "cd ~/.pancode-node/f-* && umask 077 && cat > secrets.json", json.dumps(values))


def give_prices(lab: Lab, k: int, values: dict[str, str]) -> None:
    """As docs/howto/model-calls.md says it: what the owner pays for a million tokens."""
    on_host(lab, k, "cd ~/.pancode-node/f-* && umask 077 && cat > prices.json", json.dumps(values))


@contextmanager
def model_on(
    lab: Lab, k: int, script: dict[str, Any], port: int = PORT, persona: str = "all"
) -> Iterator[Path]:
    """The scripted model server on host k's own loopback; gives its log, one JSON object per request.

    What was asked lies whole in the folder `bodies` beside it. `persona`: the server that it looks like.
    """
    with tempfile.TemporaryDirectory(prefix="pm-") as folder:
        told, log = Path(folder) / "script.json", Path(folder) / "log"
        told.write_text(json.dumps(script))
        inside = ["ip", "netns", "exec", lab.link(k)]
        argv = [*inside, sys.executable, "-m", "tests.fakemodel", "--port", str(port), "--script", str(told)]
        argv += ["--persona", persona, "--log", str(log), "--dump", str(Path(folder) / "bodies")]
        with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout is not None and server.stdout.readline().strip() == str(port)
                yield log
            finally:
                server.terminate()


def requests_in(log: Path) -> list[dict[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return [told for told in map(json.loads, lines) if "wire" in told]


def settled(fleet: Owner, run: str) -> None:
    """What it cost is unknown, so its hold stays until a user says what it was."""
    kept = Decimal(fleet.show(run)["attempts"][-1]["held_usd"])
    spent, held = money(fleet)
    assert 0 < kept <= held, (kept, held)
    fleet.run("budget", "settle", run, "--usd", str(SETTLED)).ok()
    assert money(fleet) == (spent + SETTLED, held - kept)


def project(fleet: Owner, name: str) -> Path:
    return fleet.repository(name, {"notes.txt": "alpha\nbeta\ngamma\n"})


@contextmanager
def tiny_on(lab: Lab, k: int, port: int, alias: str, ctx: int) -> Iterator[subprocess.Popen[bytes]]:
    """llama.cpp's server on host k's loopback, on a usual port: nobody tells the node of it."""
    inside = ["ip", "netns", "exec", lab.link(k)]
    argv = [*inside, *argv_of(port=port, alias=alias, slots=1, ctx=ctx), "--die-with-stdin"]
    with subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        told = json.loads(server.stdout.readline())
        try:
            yield server
        finally:
            server.kill()
            shutil.rmtree(told["scratch"])
