"""A coordinator that dies between the write of a landing and its record has it recorded by the next one."""

from __future__ import annotations

from typing import Any

import pytest

from pancode.kernel.records import Run
from pancode.kernel.values import replace
from pancode.landing import queue
from pancode.landing.git.change_store import DepotRepositories
from pancode.landing.service import Lander
from pancode.runs.request import LandWay
from pancode.runs.unit_of_work import unit_of_work
from tests.integration.git.coordinator import Trees, everything
from tests.unit.pancode.landing.test_asked import LandingWorld
from tests.unit.pancode.runs.world import no_prd

FILES = ["a", "b", "dd/inner", "dir/sub/z", "ln", "new", "x.sh"]


class Crash(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("branch", ["", "agent/x"])
def test_what_was_written_is_recorded_by_the_next_coordinator(coordinator: Trees, branch: str) -> None:
    world, request = LandingWorld(land=False), coordinator.result(everything)
    world.end()
    row = world.coordinator.row(Run, "r-0001")
    place = {"repo": request.repo_id, "snapshot": request.snapshot_commit, "base": coordinator.user.head}
    with unit_of_work(world.coordinator.core) as work:
        work.tx.put(
            replace(
                row,
                project=str(coordinator.user.path),
                workspace={**row.workspace, **place},
                result={**row.result, "commit": request.final_commit},
            )
        )
    queue.queue_landing(world.coordinator.core, "r-0001", LandWay("ana", with_commands=True, branch=branch))
    repositories = DepotRepositories(coordinator.depot)

    def dies(*meant: Any) -> dict[str, Any]:
        assert Lander(world.coordinator.core, repositories, no_prd).land(*meant)["status"] == "landed"
        raise Crash

    with pytest.raises(Crash):
        world.land(dies)
    assert branch or (coordinator.user.path / "new").read_text() == "n\n", "it is written"
    assert world.coordinator.row(Run, "r-0001").landed is None, "and nobody knows"
    world.coordinator.restart()
    told = world.land(Lander(world.coordinator.core, repositories, no_prd).land)
    assert (told["status"], told["files"], told["made"]) == ("landed", FILES, bool(branch))
    commit = coordinator.user.git("rev-parse", branch) if branch else request.final_commit
    assert world.coordinator.row(Run, "r-0001").landed == commit.strip()
