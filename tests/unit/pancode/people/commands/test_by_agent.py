"""A command for an agent with several runs lists itself for each of them."""

from __future__ import annotations

import pytest

from pancode.interfaces.cli import main as entry
from pancode.interfaces.cli.output import Face
from pancode.kernel.errors import ApiError, ExitCode
from tests.unit.pancode.interfaces.http.world import World
from tests.unit.pancode.runs.routes.test_by_agent import world

__all__ = ["world"]


def test_a_command_for_one_of_several_runs_lists_itself_for_each(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = ApiError(world.http.post("/v1/runs/mason/stop", {"by": "ada", "reason": ""}).json())

    def refuse(*_: object, **__: object) -> None:
        raise refused

    monkeypatch.setattr(Face, "client", refuse)
    assert entry.run(["tell", "mason", "in ink"]) == ExitCode.USAGE
    told = capsys.readouterr().err
    assert "pancode tell r-aa2223 'in ink'; or: pancode tell r-aa2222 'in ink'" in told
    assert entry.run(["runs", "stop", "--agent", "mason", "--json"]) == ExitCode.USAGE
    assert "pancode runs stop r-aa2223 --json; or: pancode runs stop r-aa2222" in capsys.readouterr().err
