"""The JSON that scripts may rely on: every key of the product's promise is there, with the type it had."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.receipt import Blob, Usage
from pancode.kernel.records import Run
from tests.unit.pancode.interfaces.http.world import Http, MemoryCoordinator, client_of
from tests.unit.pancode.runs.world import Desk, Puppet

COMMIT = "c" * 40
TEXT = str
MAYBE = (str, type(None))
NUMBER = (int, float)
RUN: dict[str, Any] = {
    "run": TEXT,
    "status": TEXT,
    "stage": TEXT,
    "waits": MAYBE,
    "attempt": int,
    "node": MAYBE,
    "agent": TEXT,
    "runtime": TEXT,
    "model": MAYBE,
    "outcome": MAYBE,
    "reason": TEXT,
    "exit_code": (int, type(None)),
    "commit": MAYBE,
    "files_changed": [TEXT],
    "receipt": MAYBE,
    "usage": {
        "input_tokens": int,
        "output_tokens": int,
        "cost_usd": MAYBE,
        "cost_source": TEXT,
        "disputed_usd": MAYBE,
    },
    "started_at": MAYBE,
    "finished_at": MAYBE,
}
NODE: dict[str, Any] = {
    "name": TEXT,
    "state": TEXT,
    "since": MAYBE,
    "slots": {"used": int, "total": int},
    "runtimes": [{"name": TEXT, "state": TEXT}],
    "endpoints": [dict],
    "labels": dict,
    "version": MAYBE,
    "clock_skew_s": (float, type(None)),
    "problems": [{"what": TEXT, "fix": TEXT}],
}
JOB = {"run": TEXT, "attempt": int, "agent": TEXT, "priority": int, "waiting_s": NUMBER, "reason": TEXT}
QUEUE = {
    "name": TEXT,
    "kind": TEXT,
    "node": MAYBE,
    "paused": MAYBE,
    "waiting": int,
    "running": int,
    "oldest_s": (int, float, type(None)),
    "orders": [JOB],
}
SCOPE = {
    "scope": TEXT,
    "ceiling_usd": MAYBE,
    "spent_usd": TEXT,
    "held_usd": TEXT,
    "remaining_usd": MAYBE,
    "disputed_usd": TEXT,
    "unknown_runs": int,
    "tokens": int,
    "agent_minutes": NUMBER,
}
DECISION = {"at": TEXT, "kind": TEXT, "what": TEXT, "verdict": TEXT, "detail": TEXT}
PROMISES: dict[str, dict[str, Any]] = {
    "/v1/runs": {"runs": [RUN]},
    "/v1/runs/r-0001": RUN,
    "/v1/runs/r-0001/brief": RUN,
    "/v1/fleet": {"coordinator": dict, "nodes": [NODE]},
    "/v1/queues": {"queues": [QUEUE]},
    "/v1/runs/r-0001/verify": {
        "run": TEXT,
        "verdict": TEXT,
        "checks": [{"what": TEXT, "ok": bool, "detail": TEXT}],
    },
    "/v1/budget": {"scopes": [SCOPE], "estimate_next_usd": TEXT, "runs": int},
    "/v1/runs/r-0001/why": {"run": TEXT, "decisions": [DECISION]},
}


@pytest.fixture
def http(tmp_path: Path) -> Http:
    """A fleet with one finished run, one that waits, one node."""
    context = Desk()
    puppet = Puppet(context)
    puppet.breathe()
    run: Run = context.dispatch("r-0001", workspace={"kind": "git", "repo": "repo-1", "snapshot": "a" * 40})
    context.turn()
    job = puppet.take()
    puppet.start(job)
    context.depot.commits.add(COMMIT)
    coordinator = MemoryCoordinator(context, tmp_path)
    coordinator.streams.put(job.identity, "out", b"hello\n")
    puppet.deliver(
        job,
        started_wall_ms=context.clock.wall_ms(),
        exit_code=0,
        commit=COMMIT,
        change="change",
        files_changed=("a.txt",),
        usage=Usage(input_tokens=5, output_tokens=7, cost_usd=Decimal("0.10"), cost_source="reported"),
        gates=(),
        blobs=(Blob(name="out", size=6, sha256="0" * 64),),
    )
    context.turn()
    context.dispatch("r-0002", node="n9")
    context.turn()
    assert run.id == "r-0001"
    return client_of(coordinator)


def _hold(value: Any, promise: Any, where: str) -> None:
    """The value has at least what was promised, each part of the promised type."""
    if isinstance(promise, dict):
        assert isinstance(value, dict), where
        for key, part in promise.items():
            assert key in value, f"{where}.{key} is missing"
            _hold(value[key], part, f"{where}.{key}")
    elif isinstance(promise, list):
        assert isinstance(value, list), where
        for number, item in enumerate(value):
            _hold(item, promise[0], f"{where}[{number}]")
    else:
        assert isinstance(value, promise), f"{where} is {value!r}"


@pytest.mark.parametrize("path", PROMISES)
def test_every_promised_key_is_there(http: Http, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200, answer.text
    _hold(answer.json(), PROMISES[path], path)


def test_the_finished_run_says_what_it_did(http: Http) -> None:
    run = http.get("/v1/runs/r-0001").json()
    assert (run["outcome"], run["node"], run["commit"]) == ("done", "n1", COMMIT)
    assert run["files_changed"] == ["a.txt"] and run["exit_code"] == 0
    assert run["usage"] == {
        "input_tokens": 5,
        "output_tokens": 7,
        "cost_usd": "0.10",
        "cost_source": "reported",
        "disputed_usd": None,
    }
    assert run["started_at"].endswith("Z") and run["finished_at"].endswith("Z")
    assert run["notes"] == ["no gates"] and len(run["receipt"]) == 64


def test_lists_that_scripts_walk_are_not_empty_here(http: Http) -> None:
    assert len(http.get("/v1/runs").json()["runs"]) == 2
    queues = {q["name"]: q for q in http.get("/v1/queues").json()["queues"]}
    waiting = queues["pool.node.n9"]
    assert (waiting["kind"], waiting["node"], waiting["waiting"]) == ("pool", "n9", 1)
    assert waiting["orders"][0]["run"] == "r-0002" and "n9" in waiting["orders"][0]["reason"]
    budget = http.get("/v1/budget").json()
    day = budget["scopes"][0]
    assert (day["scope"][:4], day["spent_usd"], day["held_usd"]) == ("day:", "0.10", "0.75")
    assert day["remaining_usd"] == "9.15" and day["tokens"] == 12 and budget["runs"] == 2
    kinds = {d["kind"] for d in http.get("/v1/runs/r-0001/why").json()["decisions"]}
    assert {"gate", "placement", "settle"} <= kinds
