"""What is done with a stack that runs: its machines join the fleet, one run goes through all of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

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
    desk = stack["coordinator"]
    pin = told(desk, "ssh-keygen", "-lf", "/run/secrets/node_host_key_public").split()[1]
    for node in nodes:
        told(desk, "pancode", "node", "add", node, "--accept-fingerprint", pin, "--no-fleet-key")
    return told(desk, "pancode", "fleet", "up", *nodes, timeout_s=300)


def figure(stack: Mapping[str, Running], expression: str) -> list[str]:
    """What Prometheus answers to it now, by its HTTP API: a line for each series, without the moment."""
    argv = ("promtool", "query", "instant", "http://127.0.0.1:9090", expression)
    lines = told(stack["prometheus"], *argv).splitlines()
    return [line.partition(" @[")[0] for line in lines if line]  # of no series it says an empty line


def dispatch(stack: Mapping[str, Running], node: str, *words: str) -> str:
    """One run of an argument list on that machine."""
    pinned = ("--node", node, "--runtime", "shell", "--workspace", "none")
    return told(stack["coordinator"], "pancode", "dispatch", *pinned, "--", *words)
