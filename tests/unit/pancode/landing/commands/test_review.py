"""`pancode inbox drop`: what a user has dropped needs nobody."""

from __future__ import annotations

from pathlib import Path

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from pancode.interfaces.cli.output import Face
from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.landing.commands.review import drop
from pancode.reports.answers import NOW
from pancode.runs.unit_of_work import is_left
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.landing.commands.test_landing import DirectClient
from tests.unit.pancode.runs.world import failed


def test_dropped_failures_need_nobody_and_say_how_to_land_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path)
    made = {"change": "change", "commit": "d" * 40, "files_changed": ("a.txt",)}
    world.context.depot.commits.add("d" * 40)
    for name, change in (("r-0001", made), ("r-0002", {})):
        world.context.dispatch(name)
        world.context.turn()
        world.node.carry_out(**failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED), **change)
        world.node.breathe()
    client = DirectClient(world.coordinator)
    assert {one.id for one in client.get(NOW).groups[1].needs} == {"r-0001", "r-0002"}
    monkeypatch.setattr(Face, "client", lambda self: client)
    drop(["r-0001", "r-0002"], Face(False))
    assert capsys.readouterr().out == (
        "r-0001  dropped; its change is kept; to land it anyway: pancode land --anyway --no-gates r-0001\n"
        "r-0002  dropped; it has no change\n"
    )
    assert client.get(NOW).groups[1].needs == ()


def test_a_failure_whose_change_a_user_has_landed_needs_nobody(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.context.dispatch("r-0001")
    world.context.turn()
    world.node.carry_out(**failed(FailureKind.GATE_FAILED, Outcome.VERIFY_FAILED))
    world.node.breathe()
    run = world.context.row(Run, "r-0001")
    assert is_left(run) and not is_left(replace(run, landed="main"))
