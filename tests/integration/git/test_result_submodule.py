"""Work inside a submodule of the checkout never vanishes in silence: its files did not travel."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.workspace.workspaces import Workspaces
from pancode.git.depot import Depot
from tests.integration.git.repos import PathTransport, Repo, attempt, simple, snap, workspace_of
from tests.integration.git.test_result import STAMP

SAID = ("sub: a submodule: changes inside it are not in the result",)


def _cloned(agent: Repo) -> None:
    inner = Repo(agent.path / "sub")
    inner.write("g", "done\n")
    inner.commit("inside")


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (lambda agent: None, ()),
        (lambda agent: agent.write("sub/new", "work\n"), SAID),
        (lambda agent: agent.write("sub/deep/er/new", "work\n"), SAID),
        (_cloned, SAID),
    ],
)
def test_what_is_done_in_a_submodule_is_named(
    act: Callable[[Repo], object], said: tuple[str, ...], tmp_path: Path, depot: Depot
) -> None:
    other = simple(tmp_path / "other", 1)
    repo = simple(tmp_path / "project")
    repo.git("submodule", "add", "-q", str(other.path), "sub")
    repo.commit()
    taken = snap(repo, depot)
    spaces = Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id))
    job = workspace_of(taken)
    agent = Repo(spaces.prepare(attempt(), job), init=False)
    act(agent)
    made = spaces.commit(attempt(), job, STAMP)
    assert made.kind == "empty" and made.warnings == said and made.missing == said


def test_what_set_up_put_into_a_submodule_is_not_missing(tmp_path: Path, depot: Depot) -> None:
    other = simple(tmp_path / "other", 1)
    repo = simple(tmp_path / "project")
    repo.git("submodule", "add", "-q", str(other.path), "sub")
    repo.commit()
    taken = snap(repo, depot)
    spaces = Workspaces(tmp_path / "node", PathTransport(depot, taken.repo_id))
    job = workspace_of(taken)
    agent = Repo(spaces.prepare(attempt(), job), init=False)
    _cloned(agent)
    baseline = spaces.baseline(attempt(), job)
    made = spaces.commit(attempt(), job, STAMP, baseline)
    assert made.missing == ()
