"""The real programs behind a node's gateway: their tokens counted to the last, the key out of their reach.

Takes about a minute in all: a whole node agent, and the real program once for each test.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.ports import Launch, Runtimes
from node_agent.runtimes.workerspec import TOOLS
from node_agent.wire.control import StopControl
from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Job
from node_agent.wire.policy import Enforcement, Isolation, Safety, compile_policy
from node_agent.wire.receipt import Claims, Enforced
from tests.clis.conftest import path_of
from tests.clis.launched import CODEX, OPENCODE, Cli
from tests.clis.launched import EVERY as PROGRAMS
from tests.fakemodel import FakeModel, preset
from tests.integration.node.gateway_world import KEY, GatewayWorld
from tests.integration.node.node_world import processes_of, until

pytestmark = pytest.mark.slow

EVERY = {cli.runtime: cli for cli in PROGRAMS}


class Untitled:
    """The launches of other runtimes, without the title that keeps opencode from asking for one."""

    def __init__(self, plain: Runtimes) -> None:
        self._plain, self.reader, self.enclose = plain, plain.reader, plain.enclose
        self.open_copied = plain.open_copied

    def launch(self, *given: Any) -> Launch:
        launch = self._plain.launch(*given)
        at = launch.argv.index("--title")
        return replace(launch, argv=(*launch.argv[:at], *launch.argv[at + 2 :]))


RUN = f"r-cli{os.getpid()}"
"""No other test of this machine may sweep it away."""
MakeWorld = Callable[[Cli, dict], GatewayWorld]


@pytest.fixture
def make_world(tmp_path: Path) -> Iterator[MakeWorld]:
    made: list[GatewayWorld] = []

    def make(cli: Cli, script: dict) -> GatewayWorld:
        model = FakeModel({**script, "api_key": KEY}).start()
        world = GatewayWorld(tmp_path, model, cli.runtime, path_of(cli.runtime))
        made.append(world)
        world.begin()
        return world

    yield make
    for world in made:
        world.end()
        world.model.stop()


def job_of(world: GatewayWorld, cli: Cli, **limits: object) -> Job:
    job = world.job("Say hello.", run=RUN, runtime=cli.runtime, model=cli.model, safety=Safety.AUTO_EDIT)
    changed = job.limits.model_copy(update={"wall_ms": 60_000, "idle_ms": 60_000, **limits})
    agent = job.agent.model_copy(update={"tools": TOOLS})
    return job.model_copy(update={"agent": agent, "limits": changed, "env": (), "secrets": ()})


def served(model: FakeModel) -> tuple[int, int]:
    """All that the server has answered with: input with what was cached, output."""
    used = [entry["usage"] for entry in model.requests if "usage" in entry]
    return sum(one["prompt"] for one in used), sum(one["output"] for one in used)


def counted(claims: Claims) -> tuple[int, int]:
    usage = claims.usage
    return usage.input_tokens + usage.cached_tokens, usage.output_tokens


@pytest.mark.parametrize("runtime", sorted(EVERY))
def test_its_count_is_the_server_s_to_the_token(make_world: MakeWorld, runtime: str) -> None:
    world = make_world(EVERY[runtime], preset("text"))
    claims = world.run(job_of(world, EVERY[runtime]), 90)
    assert (claims.outcome, claims.failure) == (Outcome.DONE, None), claims.reason
    assert counted(claims) == served(world.model) and counted(claims)[1] > 0
    assert claims.claimed is not None and claims.calls is not None
    assert (claims.calls.failed, claims.calls.refused, claims.calls.unread) == (0, 0, 0), claims.findings
    asked = [entry for entry in world.model.requests if "usage" in entry]
    assert claims.calls.requests == len(asked)
    assert claims.isolation is Isolation.SANDBOX, "the machines of our tests have bubblewrap"
    assert Enforced(rule="network model", how=Enforcement.SANDBOX) in claims.enforced


def test_the_title_that_opencode_asks_for_in_secret_is_counted(make_world: MakeWorld) -> None:
    world = make_world(OPENCODE, preset("text"))
    world.leave()
    world.launched_by = Untitled
    world.start()
    claims = world.run(job_of(world, OPENCODE), 90)
    assert claims.outcome is Outcome.DONE, claims.reason
    assert claims.calls is not None and claims.claimed is not None
    assert claims.calls.requests == 2 and counted(claims) == served(world.model)
    assert claims.claimed.output_tokens < claims.usage.output_tokens
    assert any("the model gateway counted" in finding for finding in claims.findings)


@pytest.mark.parametrize("runtime", sorted(EVERY))
def test_the_key_is_out_of_its_reach(make_world: MakeWorld, runtime: str) -> None:
    world = make_world(EVERY[runtime], preset("stall"))
    job = job_of(world, EVERY[runtime])
    world.coordinator.push(job)
    assert world.model.wait_until_asked(60)
    seen = 0
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            environ = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if b"PANCODE_ATTEMPT=" not in environ or str(job.identity).encode() not in environ:
            continue  # another test's node looks for its programs, with the same key
        seen += 1
        assert KEY.encode() not in environ, Path(f"/proc/{pid}/cmdline").read_bytes()
    assert seen and processes_of(job.identity)
    for path in [one for one in world.home.root.rglob("*") if one.is_file()]:
        with contextlib.suppress(FileNotFoundError):  # it is at work, and makes and removes locks
            assert path == world.home.secrets or KEY.encode() not in path.read_bytes(), path
    world.coordinator.tell(StopControl(identity=job.identity, reason="enough"))
    claims = world.ended(job.identity, 60)
    assert claims.outcome is Outcome.INTERRUPTED


HOSTILE = """\
tried() {{ if sh -c "$2" >/dev/null 2>&1; then echo "DID $1" >> told; else echo "not $1" >> told; fi; }}
tried outside 'echo x > {outside}/shell && test -e {outside}/t'
tried key 'cat {node}/key/node.key || cat {node}/secrets.json || grep -rl {key} /proc/*/environ'
tried journal 'ls {node}/journal/*/* | grep -v model.sock | grep .'
tried core 'echo x > /proc/sys/kernel/core_pattern'
tried port 'python3 -c "import socket; socket.create_connection((\\"127.0.0.1\\", {port}), 3)"'
tried tree 'echo x > here'
setsid -f sleep 622 >/dev/null 2>&1 </dev/null
tried done true"""


@pytest.mark.skipif(os.geteuid() != 0, reason="not root")
@pytest.mark.parametrize("runtime", ["claude", "codex"])
def test_behind_the_wall_a_hostile_model_achieves_nothing(
    make_world: MakeWorld, tmp_path: Path, runtime: str
) -> None:
    """At full-auto, which lets it try. Its own port is the server's, which only the gateway may reach.

    One program with a sandbox of its own, one without; test_matrix.py has the sandbox around every program.
    """
    cli, outside = EVERY[runtime], tmp_path / "outside"
    outside.mkdir()
    (outside / "t").touch()
    turns: list[dict[str, Any]] = [{"text": "Done."}]
    world = make_world(cli, {"turns": turns})
    given = {"outside": outside, "node": world.home.root, "key": KEY, "port": world.model.port}
    write = {"tool": "write", "args": {"path": f"{outside}/tool", "content": "x"}}
    turns[:0] = [{"tool": "shell", "args": {"command": HOSTILE.format(**given)}}, write]
    plain = job_of(world, cli)
    policy = compile_policy(Safety.FULL_AUTO, read_only=False)
    job = plain.model_copy(update={"safety": Safety.FULL_AUTO, "policy": policy})
    told: list[str] = []

    def looked() -> bool:
        file = world.home.root / "work" / str(job.identity) / "tree" / "told"
        told[:] = file.read_text().splitlines() if file.is_file() else told
        return "DID done" in told

    world.coordinator.push(job)
    until(looked, timeout_s=60, told=lambda: str(told))
    claims = world.ended(job.identity, 90)
    assert {line for line in told if line.startswith("DID")} == {"DID tree", "DID done"}, told
    assert sorted(path.name for path in outside.iterdir()) == ["t"]
    assert claims.isolation is Isolation.SANDBOX and processes_of(job.identity) == []
    assert ("network model", "sandbox") in [(one.rule, one.how.value) for one in claims.enforced]


@pytest.mark.parametrize("runtime", ["claude", "native", "opencode"])
def test_a_loop_is_ended_at_its_limit(make_world: MakeWorld, runtime: str) -> None:
    cli = EVERY[runtime]
    world = make_world(cli, preset("loop"))
    claims = world.run(job_of(world, cli, tokens=6_000), 90)
    assert (claims.outcome, claims.failure) == (Outcome.BUDGET_EXCEEDED, FailureKind.TOKEN_LIMIT)
    assert counted(claims) == served(world.model)
    assert 6_000 <= claims.usage.input_tokens + claims.usage.output_tokens < 6_000 + 2 * 1_300
    until(lambda: not processes_of(claims.identity))


def test_a_server_that_fails_on_and_on_ends_the_run_as_the_model_s_failure(make_world: MakeWorld) -> None:
    """OpenCode asks without end for what can be read. Two minutes: so long it is tried."""
    world = make_world(OPENCODE, preset("bad-json"))
    claims = world.run(job_of(world, OPENCODE, wall_ms=600_000, idle_ms=600_000), 240)
    assert (claims.outcome, claims.failure) == (Outcome.INFRA, FailureKind.MODEL_FAILED), claims.reason
    assert (
        claims.reason.startswith("the model server failed 1")
        and "its answers cannot be read" in claims.reason
    )
    assert claims.calls is not None and claims.calls.failed == len(world.model.requests) >= 10
    assert counted(claims) == (0, 0)
    until(lambda: not processes_of(claims.identity))


def test_a_price_of_the_owner_s_makes_the_cost_known(make_world: MakeWorld) -> None:
    world = make_world(CODEX, preset("text"))
    world.home.prices.write_text(json.dumps({CODEX.model: "1 0.1 2 10"}))
    claims = world.run(job_of(world, CODEX), 90)
    assert claims.usage.cost_source == "metered" and claims.usage.cost_usd
    assert claims.claimed is not None and claims.claimed.cost_source == "unknown"
