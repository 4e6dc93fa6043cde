"""A landing that is cut off at any point is completed or undone, and never eats what the user did since."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pancode.git.depot import Depot
from pancode.git.landings import LandRequest, LandStatus
from pancode.git.runner import GitRefusal
from pancode.git.tree.tree_landing import recover
from tests.integration.git.coordinator import LINES, Trees, edit_c, everything
from tests.integration.git.repos import Repo


def _one_of_each(agent: Repo) -> None:
    edit_c(agent)
    agent.write("dir/sub/z", "z\n")
    (agent.path / "dd" / "inner").unlink()


class Crash(BaseException):
    """The process ends here, and nothing that it had planned for errors happens."""


def _names_of_checkpoints(coordinator: Trees, request: LandRequest) -> list[str]:
    names: list[str] = []
    coordinator.land(request, checkpoint=names.append)
    return names


def test_a_crash_at_any_point_is_mended_by_the_next_call(tmp_path: Path) -> None:
    """Every effect of a landing is one point. The tree is the old one or the new one, never a mixture."""
    coordinator = Trees(tmp_path / "count", Depot(tmp_path / "count" / "depots"))
    total = len(_names_of_checkpoints(coordinator, coordinator.result(_one_of_each)))
    assert total == 12
    for point in range(total):
        coordinator = Trees(tmp_path / f"at{point}", Depot(tmp_path / f"at{point}" / "depots"))
        request = coordinator.result(_one_of_each)
        passed: list[str] = []
        old = coordinator.contents()

        def checkpoint(name: str, passed: list[str] = passed, point: int = point) -> None:
            passed.append(name)
            if len(passed) > point:
                raise Crash

        with pytest.raises(Crash):
            coordinator.land(request, checkpoint=checkpoint)
        told = recover(coordinator.user.path, {})
        mended = coordinator.contents()
        over = passed[-1] in ("finish", "forget", "remove")
        assert (mended == old) is not over, passed[-1]
        assert recover(coordinator.user.path, {}) is None
        assert (told is None) == (passed[-1] in ("write plan.json", "write applying", "remove")), passed[-1]
        expected = LandStatus.NOTHING if over else LandStatus.LANDED
        assert coordinator.land(request).status is expected
        assert not list((coordinator.user.path / ".git").glob("pancode-land*"))


def test_a_crash_while_rolling_back_is_mended_too(coordinator: Trees) -> None:
    request, old = coordinator.result(everything), coordinator.contents()

    def crash(name: str) -> None:
        if name == "put a":
            raise Crash

    with pytest.raises(Crash):
        coordinator.land(request, checkpoint=crash)
    kept = coordinator.user.path / ".git" / "pancode-land" / "old"
    first = sorted(kept.iterdir())[0]
    os.link(first, coordinator.user.path / "a")
    assert recover(coordinator.user.path, {}) is not None
    assert coordinator.contents() == old


def test_what_the_user_did_after_a_crash_is_never_overwritten(coordinator: Trees) -> None:
    request = coordinator.result(everything)

    def crash(name: str) -> None:
        if name == "write done":
            raise Crash

    with pytest.raises(Crash):
        coordinator.land(request, checkpoint=crash)
    with (coordinator.user.path / "a").open("a") as file:
        file.write("typed after the crash\n")
    (coordinator.user.path / "x.sh").unlink()
    coordinator.user.write("x.sh", "another file\n")
    with pytest.raises(GitRefusal) as caught:
        recover(coordinator.user.path, {})
    assert set(caught.value.paths) == {"a", "x.sh"}
    assert (coordinator.user.path / "a").read_text().endswith("typed after the crash\n")
    assert (coordinator.user.path / "x.sh").read_text() == "another file\n"
    assert (coordinator.user.path / "b").read_text() == LINES
    (aside,) = (coordinator.user.path / ".git").glob("pancode-land.kept-*")
    assert any("user20" in path.read_text() for path in (aside / "old").iterdir())
    assert recover(coordinator.user.path, {}) is None
