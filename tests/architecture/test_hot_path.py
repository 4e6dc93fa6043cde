"""Holds the command line's start to light imports: `pancode runs` must not pay for a coordinator."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.architecture.sources import ROOT

HEAVY = (
    "pydantic sqlalchemy alembic asyncssh rq redis cryptography starlette uvicorn textual httpx rich yaml "
    "asyncio"
).split()
PROBE = "import json, sys, {0}; print(json.dumps(sorted(n.split('.')[0] for n in sys.modules)))"


@pytest.mark.parametrize(
    "module",
    [
        "pancode.interfaces.cli.main",
        "pancode.runs.commands.runs",
        "pancode.interfaces.tui.commands",
        "pancode.interfaces.client.client",
    ],
)
def test_start_of_the_command_line_is_light(module: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBE.format(module)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    loaded = set(json.loads(done.stdout))
    assert not loaded & set(HEAVY), f"{module} loads {sorted(loaded & set(HEAVY))}"


PROBES = """
import importlib, json, os, sys
sys.path.insert(0, "")
from pancode.interfaces.cli.tree import HIDDEN, TREE
found = {}
commands = [*TREE.values(), *HIDDEN.values()]
for module in sorted({one.module for one in commands if one.module}):
    reading, writing = os.pipe()
    child = os.fork()  # each from the same start, as one command is
    if child == 0:
        importlib.import_module(module)
        with open(writing, "w") as out:
            out.write(json.dumps(sorted(sys.modules)))
        os._exit(0)
    os.close(writing)
    with open(reading) as file:
        found[module] = json.loads(file.read())
    os.waitpid(child, 0)
print(json.dumps(found))
"""
HEAVIER = {
    "pancode.skills.commands.skills": "reads settings itself",
}
"""Commands that load more than a face, each with its reason."""


def test_every_command_is_free_of_the_node_agent() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROBES], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    assert len(found) > 40 and "pancode.sessions.commands.chat" in found
    heavy = {
        module: sorted({name.split(".")[0] for name in loaded} & set(HEAVY))
        for module, loaded in found.items()
    }
    assert {module for module, names in heavy.items() if names} == set(HEAVIER), heavy
    for module, loaded in found.items():
        mine = [name for name in loaded if name.startswith("node_agent.")]
        allowed = ("node_agent.wire", "node_agent.policy") if module in HEAVIER else ("node_agent.wire",)
        assert all(name.startswith(allowed) for name in mine), (module, mine)


FACES = ("pancode.interfaces.web", "pancode.interfaces.tui", "pancode.interfaces.mcp", "textual", "apprise")
PRICES = "genai_prices"
"""Megabytes, read at the first dispatch that names a vendor's model."""


def test_a_coordinator_at_which_nobody_looks_loads_no_face() -> None:
    probe = "import json, sys, pancode.app.server.serve, pancode.app.build, pancode.app.http_routes; "
    done = subprocess.run(
        [sys.executable, "-c", probe + "print(json.dumps(sorted(sys.modules)))"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    loaded = json.loads(done.stdout)
    assert "starlette.applications" in loaded  # it is the coordinator
    assert [name for name in loaded if name.startswith((*FACES, PRICES))] == []
