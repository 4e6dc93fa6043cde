"""What is done with a stack that runs: its machines join the fleet, one run goes through all of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tests.stack.running import Running

NODES = ("node1", "node2")
ENDED = 'sum(pancode_runs_ended_total{outcome="done"}) == 2'
SCRAPED_S = 40
"""Within two scrapes, whenever the first one was."""


def told(one: Running, *words: str, timeout_s: float = 120) -> str:
    """What a command in a service says; it has to end well."""
    done = one.exec(*words, timeout_s=timeout_s)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}{one.said()[-3000:]}"
    return done.stdout


def enrol(stack: Mapping[str, Running], nodes: Sequence[str] = NODES) -> str:
    """As docs/howto/compose.md says it."""
    coordinator = stack["coordinator"]
    pin = told(coordinator, "ssh-keygen", "-lf", "/run/secrets/node_host_key_public").split()[1]
    for node in nodes:
        told(coordinator, "pancode", "node", "add", node, "--accept-fingerprint", pin, "--no-fleet-key")
    return told(coordinator, "pancode", "fleet", "up", *nodes, timeout_s=300)


def figure(stack: Mapping[str, Running], expression: str) -> list[str]:
    """What Prometheus answers to it now, by its HTTP API: a line for each series, without the moment."""
    argv = ("promtool", "query", "instant", "http://127.0.0.1:9090", expression)
    lines = told(stack["prometheus"], *argv).splitlines()
    return [line.partition(" @[")[0] for line in lines if line]  # of no series it says an empty line


def dispatch(stack: Mapping[str, Running], node: str, *words: str) -> str:
    """One run of an argument list on that node."""
    pinned = ("--node", node, "--runtime", "shell", "--workspace", "none")
    return told(stack["coordinator"], "pancode", "dispatch", *pinned, "--", *words)


_ASK = """
import sys, urllib.error, urllib.request
try:
    method, path = sys.argv[1:]
    asked = urllib.request.Request(f"http://127.0.0.1:9181{path}", method=method)
    with urllib.request.urlopen(asked, timeout=60) as said:
        print(said.status, said.read().decode())
except urllib.error.HTTPError as error:
    print(error.code, "null")
"""


def dashboard(stack: Mapping[str, Running], path: str, method: str = "GET") -> tuple[int, Any]:
    """What RQ's dashboard says by HTTP: the status, and the page's JSON or text."""
    said = told(stack["rq-dashboard"], "python", "-c", _ASK, method, path)
    status, _, text = said.partition(" ")
    return int(status), json.loads(text) if text[:1] in "{n" else text


def finished(stack: Mapping[str, Running]) -> dict[str, list[dict[str, Any]]]:
    """The jobs that have ended, of each queue, as the dashboard's pages ask for them."""
    _, told_of = dashboard(stack, "/0/data/queues.json")
    names = [one["name"] for one in told_of["queues"]]
    pages = {name: dashboard(stack, f"/0/data/jobs/{name}/finished/8/asc/1.json") for name in names}
    return {name: page["jobs"] for name, (_, page) in pages.items()}
