"""Fixtures of the code transport's tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from pancode.git.snapshot import Snapshot
from tests.integration.git.coordinator import Trees
from tests.integration.git.depot_world import Depots
from tests.integration.git.repos import PathTransport, Repo, attempt, leave_a_mess, simple, snap, workspace_of


@pytest.fixture
def depot(tmp_path: Path) -> Depot:
    return Depot(tmp_path / "depots")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    """Three commits, three files."""
    return simple(tmp_path / "project")


@pytest.fixture
def world(tmp_path: Path, depot: Depot) -> Iterator[Depots]:
    """A depot server that serves."""
    world = Depots(tmp_path, depot)
    world.server.start()
    yield world
    world.close()


@pytest.fixture
def coordinator(tmp_path: Path, depot: Depot) -> Trees:
    """A user's dirty tree with a snapshot."""
    return Trees(tmp_path, depot)


@pytest.fixture
def taken(repo: Repo, depot: Depot) -> Snapshot:
    repo.write("f1", "edited\n")
    repo.write("run.sh", "#!/bin/sh\n").chmod(0o755)
    (repo.path / "ln").symlink_to("f1")
    return snap(repo, depot)


@pytest.fixture
def transport(depot: Depot, taken: Snapshot) -> PathTransport:
    return PathTransport(depot, taken.repo_id)


@pytest.fixture(params=["new", "warm"])
def spaces(
    request: pytest.FixtureRequest, tmp_path: Path, transport: PathTransport, taken: Snapshot
) -> Workspaces:
    """A node that makes the first checkout, or one where an attempt was that left nothing as it was."""
    made = Workspaces(tmp_path / "node", transport)
    if request.param == "warm":
        leave_a_mess(made, workspace_of(taken), attempt(number=9, lease=9))
        transport.fetches = 0
    return made
