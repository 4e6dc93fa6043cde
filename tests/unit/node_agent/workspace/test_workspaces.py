"""A gate's program that is nowhere is told before the agent; what the agent may write is not looked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.order import Gate
from node_agent.workspace.workspaces import absent
from tests.unit.node_agent.stage import order_of


@pytest.mark.parametrize(
    ("program", "is_absent"),
    [
        ("tool", False),
        ("toool", True),
        ("/usr/bin/env", False),
        ("/usr/bin/envv", True),
        (".venv/bin/pytest", False),
        ("./.venv/bin/pytset", True),
        ("./to-be-written.sh", False),
        ("build/app", False),
    ],
)
def test_each_kind_of_name(tmp_path: Path, program: str, is_absent: bool) -> None:
    for name in ("bin/tool", "tree/.venv/bin/pytest"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).touch(0o755)
    order = order_of(gates=(Gate(name="g", argv=(program, "-q")),), setup=(("true",),), cache=(".venv",))
    found = absent(order, tmp_path / "tree", str(tmp_path / "bin"))
    assert found == ((program,) if is_absent else ())
