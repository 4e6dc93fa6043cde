"""Holds the modules of commands to light imports; tests/integration/faces/test_sweep.py runs some of them."""

from __future__ import annotations

import json
import subprocess
import sys

from tests.architecture.sources import ROOT

HEAVY = (
    "pydantic sqlalchemy alembic asyncssh rq redis cryptography starlette uvicorn textual httpx rich yaml "
    "asyncio"
).split()
"""Libraries of a coordinator, which no command loads when its module is imported."""
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
    loads = {module: names for module, names in heavy.items() if names}
    assert loads == {"pancode.skills.commands.skills": ["yaml"]}, "it reads the files of skills"
    for module, loaded in found.items():
        mine = [name for name in loaded if name.startswith("node_agent.")]
        assert all(name.startswith("node_agent.wire") for name in mine), (module, mine)


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
