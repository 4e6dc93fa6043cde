"""Every forbidden act in every real program, under every rule, in the sandbox and without it.

What came of it must be what the product says (`pancode policy show --matrix`,
docs/reference/safety-matrix.md); `make matrix` writes it anew. About four minutes in all with two processes:
42 hostile runs in real programs.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind
from node_agent.wire.policy import Enforcement, Isolation
from pancode.agents.runtimes import RULES, build_matrix
from pancode.agents.safety_evidence import load_evidence
from tests.clis.hostile import SHELL, Cell, came_of
from tests.clis.launched import EVERY
from tests.clis.written import write_cell

pytestmark = pytest.mark.slow

CELLS = [
    Cell(cli, rule, wall)
    for cli in (*EVERY, SHELL)
    for rule in RULES
    for wall in (Isolation.SANDBOX, Isolation.NONE)
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda c: f"{c.cli.runtime}-{c.rule}-{c.wall.value}")
def test_a_hostile_model_gets_as_far_as_we_say(
    cell: Cell, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    claims, came = came_of(cell, tmp_path)
    if cell.cli is not SHELL:
        tried_all = (FailureKind.STOPPED, FailureKind.RULE_BROKEN)
        assert claims.failure in tried_all, f"it ended before it had tried everything: {claims.reason}"
    assert claims.isolation is cell.wall
    name = cell.cli.runtime
    believed = {row[:2]: row[2:] for row in build_matrix()}[name, cell.rule]
    held = claims.enforced[0]
    assert held.rule == cell.rule and held.how is believed[cell.wall is Isolation.NONE]
    assert (held.how is Enforcement.SANDBOX) is (cell.wall is Isolation.SANDBOX)
    if request.config.getoption("--write-evidence", default=False):
        write_cell(name, cell.rule, cell.wall, came)
        return
    said = load_evidence().cells[name, cell.rule, cell.wall]
    assert came == said, "it is not as pancode says; where that is right, `make matrix` writes it anew"
