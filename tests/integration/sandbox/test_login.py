"""The login of a program by subscription: there for the agent, and neither for set-up nor for gates."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.wire.failure import Outcome
from node_agent.wire.job import Gate
from tests.integration.node.node_world import NodeWorld

LOGIN = {"auth_mode": "chatgpt", "tokens": {"id_token": "an-id", "access_token": "an-access"}}
CODEX = """\
#!/bin/sh
test "$1" = --version && exec echo codex-cli 0.169.0
cat > /dev/null
grep -q an-access "$CODEX_HOME/auth.json" && echo had > had
cp "$CODEX_HOME/auth.json" "$CODEX_HOME/auth.json.bak"
echo '{"type":"thread.started","thread_id":"t"}'
echo '{"type":"turn.started"}'
echo '{"type":"item.completed","item":{"id":"0","type":"agent_message","text":"ok"}}'
echo '{"type":"turn.completed","usage":{"input_tokens":1,"cached_input_tokens":0,"output_tokens":1}}'
"""
SEARCH = ("sh", "-c", '! grep -rq an-access "$HOME"')


@pytest.fixture
def world(tmp_path: Path) -> Iterator[NodeWorld]:
    programs = tmp_path / "installed" / "bin"
    programs.mkdir(parents=True)
    (programs / "codex").write_text(CODEX)
    (programs / "codex").chmod(0o755)
    world = NodeWorld(tmp_path)
    settings = json.loads(world.home.settings.read_text())
    world.home.settings.write_text(json.dumps({**settings, "path": f"{programs}:/usr/bin:/bin"}))
    world.home.secrets.write_text(json.dumps({"CODEX_LOGIN": json.dumps(LOGIN)}))
    world.home.secrets.chmod(0o600)
    world.begin()
    yield world
    world.end()


@pytest.mark.parametrize("setup", [(), (SEARCH,)])
def test_set_up_and_gates_find_no_login(world: NodeWorld, setup: tuple[tuple[str, ...], ...]) -> None:
    gates = (Gate(name="search", argv=SEARCH), Gate(name="had", argv=("test", "-e", "had")))
    claims = world.run(world.job("go", runtime="codex", model="m", setup=setup, gates=gates))
    assert (claims.outcome, claims.files_changed) == (Outcome.DONE, ("had",)), claims.reason
    assert [gate.passed for gate in claims.gates] == [True, True]
