"""Where a run begins: in the folder that its job names, with set-up and gates at the top."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.failure import FailureKind, Outcome
from node_agent.wire.job import Gate, Job
from node_agent.wire.receipt import Claims
from tests.integration.git.repos import snap, tree_of, workspace_of
from tests.integration.node.node_world import RUN, NodeWorld

ODD = """-a b/it's "odd"\n$(id)…"""


def job_in(world: NodeWorld, folder: str, task: str, **more: Any) -> Job:
    """From a snapshot of the tree as it is now."""
    world.taken = snap(world.repo, world.depot, RUN)
    workspace = workspace_of(world.taken).model_copy(update={"folder": folder})
    return world.job(task, runtime="shell", workspace=workspace, **more)


def could_not(claims: Claims) -> str:
    assert (claims.outcome, claims.failure) == (Outcome.ERROR, FailureKind.CANNOT_START), claims.reason
    return claims.reason


@pytest.mark.parametrize("wall", [True, False], ids=["wall", "none"])
@pytest.mark.parametrize("folder", ["web/app", ODD])
def test_the_agent_begins_there_and_set_up_and_gates_at_the_top(
    world: NodeWorld, folder: str, wall: bool
) -> None:
    if not wall:
        world.without_sandbox()
    world.repo.write(f"{folder}/here", "1\n")
    job = job_in(
        world,
        folder,
        "test -f here && test -f ../../f1 && pwd > made && git status --porcelain .",
        setup=(("test", "-f", "f1"),),
        gates=(Gate(name="top", argv=("test", "-f", f"{folder}/made")),),
    )
    claims = world.run(job)
    assert (claims.outcome, claims.files_changed) == (Outcome.DONE, (f"{folder}/made",)), claims.reason
    assert claims.commit is not None
    there = tree_of(world.depot, world.taken, claims.commit)[f"{folder}/made"][1].decode()
    assert there.endswith(f"/tree/{folder}\n")
    assert [gate.exit_code for gate in claims.gates] == [0]


def test_a_folder_that_is_not_in_the_snapshot(world: NodeWorld) -> None:
    assert "'web/none'" in could_not(world.run(job_in(world, "web/none", "touch ran")))


@pytest.mark.parametrize("leads", ["/", "../../..", "f"])
def test_a_link_of_the_repositorys_is_not_followed(world: NodeWorld, leads: str) -> None:
    world.repo.write("f/x")
    (world.repo.path / "link").symlink_to(leads)
    assert "a symbolic link" in could_not(world.run(job_in(world, "link", "touch ran")))


@pytest.mark.parametrize("wall", [True, False], ids=["wall", "none"])
def test_nor_one_that_set_up_puts_in_its_place(world: NodeWorld, wall: bool, tmp_path: Path) -> None:
    if not wall:
        world.without_sandbox()
    world.repo.write("web/x")
    planted = ("sh", "-c", f"rm -r web && ln -s {tmp_path} web")
    claims = world.run(job_in(world, "web", "touch ran", setup=(planted,)))
    assert "the run cannot start in 'web': ELOOP" in could_not(claims)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("wall", [True, False], ids=["wall", "none"])
@pytest.mark.parametrize(
    ("name", "mode", "status"),
    [
        ("no-such-program", None, 127),
        ("odd\nname", None, 127),
        ("./plain", 0o644, 126),
        ("./gone", None, 127),
    ],
)
def test_a_program_that_cannot_be_run_is_the_tasks_own_failure(
    world: NodeWorld, wall: bool, name: str, mode: int | None, status: int
) -> None:
    """It says what was looked for, on which machine, and where there."""
    if not wall:
        world.without_sandbox()
    if mode is not None:
        world.repo.write(name, "echo hi\n").chmod(mode)
    claims = world.run(job_in(world, "", "", argv=(name, "-x")))
    reason = could_not(claims)
    assert repr(name) in reason and "on n1" in reason and claims.exit_code == status
    assert ("PATH there: /" in reason) is ("/" not in name)
    assert claims.usage.cost_usd == 0
