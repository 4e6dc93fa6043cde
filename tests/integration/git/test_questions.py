"""An agent's question is taken out of its files, plain and once, and is in no result."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.attempt.left_for_others import MOST_QUESTION, QUESTION
from node_agent.attempt.ports import CommitStamp
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Workspace
from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.depot_world import Depots
from tests.integration.git.repos import snap, workspace_of

ONE = AttemptId.parse("r-aaaa.1.1")
STAMP = CommitStamp("did it", 1_790_000_000_000)
ASKS = b'{"question": "which?"}'


@pytest.fixture
def world(tmp_path: Path) -> Iterator[Depots]:
    made = Depots(tmp_path, Depot(tmp_path / "depots"))
    made.server.start()
    yield made
    made.server.stop()


def prepared(world: Depots, tmp_path: Path, workspace: Workspace) -> tuple[Workspaces, Path]:
    spaces = Workspaces(tmp_path / "n", world.client)
    return spaces, spaces.prepare(ONE, workspace)


def leave(tree: Path, name: str = QUESTION, data: bytes = ASKS) -> Path:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_it_is_read_twice_and_in_no_result(world: Depots, tmp_path: Path) -> None:
    git = workspace_of(world.taken)
    spaces, tree = prepared(world, tmp_path, git)
    assert spaces.question(ONE, git) is None
    asked = leave(tree)
    assert spaces.question(ONE, git) == ASKS == spaces.question(ONE, git)
    assert not asked.exists() and not asked.parent.exists()
    assert spaces.commit(ONE, git, STAMP).kind == "empty"


def test_it_may_lie_where_the_agent_began_or_at_the_top(world: Depots, tmp_path: Path) -> None:
    world.repo.write("sub/b.txt", "b\n")
    git = workspace_of(snap(world.repo, world.depot)).model_copy(update={"folder": "sub"})
    spaces, tree = prepared(world, tmp_path, git)
    leave(tree, data=b"top")
    leave(tree / "sub", data=b"sub")
    assert spaces.question(ONE, git) == b"sub"


@pytest.mark.parametrize("how", ["link", "folder is a link", "folder"])
def test_no_link_is_followed(world: Depots, tmp_path: Path, how: str) -> None:
    git = workspace_of(world.taken)
    spaces, tree = prepared(world, tmp_path, git)
    secret = leave(tmp_path / "away", "question.json", b"secret")
    if how == "link":
        (tree / ".pancode").mkdir()
        (tree / QUESTION).symlink_to(secret)
    elif how == "folder":
        (tree / QUESTION).mkdir(parents=True)
    else:
        (tree / ".pancode").symlink_to(secret.parent)
    assert spaces.question(ONE, git) is None and secret.exists()


def test_a_file_of_the_repository_is_no_question(world: Depots, tmp_path: Path) -> None:
    world.repo.write(QUESTION, "{}\n")
    git = workspace_of(snap(world.repo, world.depot))
    spaces, tree = prepared(world, tmp_path, git)
    assert spaces.question(ONE, git) is None and (tree / QUESTION).exists()


def test_a_long_one_is_read_as_far_as_it_takes_to_refuse_it(world: Depots, tmp_path: Path) -> None:
    none = Workspace(kind="none")
    spaces, tree = prepared(world, tmp_path, none)
    leave(tree, data=b" " * (MOST_QUESTION * 3))
    assert len(spaces.question(ONE, none) or b"") == MOST_QUESTION + 1
