"""The home of a run: when a login lies in it, and which session of a program a later run is given."""

from __future__ import annotations

import os
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from node_agent.attempt.ports import NotYet, StepFailed
from node_agent.runtimes.registry import RUNTIMES
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Resumed, TurnTerms
from node_agent.wire.keep import DAY_MS, KEEP, KeepBound
from node_agent.wire.receipt import Usage
from node_agent.workspace import homes
from node_agent.workspace.folders import AttemptFolders, WorkspaceFolders, erase
from node_agent.workspace.homes import KeptSessions
from tests.unit.node_agent.runtimes.test_jobs import JOB

FILES = {"codex/auth.json": b"login"}


@pytest.fixture
def places(tmp_path: Path) -> AttemptFolders:
    places = AttemptFolders(tmp_path / "attempt")
    (places.home / "codex").mkdir(parents=True)
    return places


def test_it_comes_after_set_up_and_goes_with_what_lies_around_it(places: AttemptFolders) -> None:
    login = places.home / "codex" / "auth.json"
    homes.lend_login(places, FILES, later=False)
    assert login.read_bytes() == b"login"
    homes.lend_login(places, FILES, later=True)
    assert not login.exists(), "this try has a set-up, other than the one before"
    homes.restore_files(places)
    assert login.read_bytes() == b"login" and login.stat().st_mode & 0o077 == 0
    (places.home / "codex" / "copy").write_bytes(b"login")
    for _ in range(2):
        homes.take_back(places)
    homes.restore_files(places)
    assert not (places.home / "codex").exists() and not (places.folder / homes.LENT).exists()


def test_a_link_in_its_place_is_taken_away_and_not_followed(places: AttemptFolders, tmp_path: Path) -> None:
    homes.lend_login(places, FILES, later=False)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "auth.json").write_text("mine")
    (places.home / "codex").rename(places.home / "aside")
    (places.home / "codex").symlink_to(tmp_path / "mine")
    homes.take_back(places)
    assert (tmp_path / "mine" / "auth.json").read_text() == "mine"
    assert not (places.home / "codex").is_symlink()


USED = Usage(input_tokens=3, cost_usd=Decimal("0.5"), cost_source="reported")
NAMES = ("c/projects", "db")


class Node:
    """Its home, with what is kept there."""

    def __init__(self, root: Path) -> None:
        self.home, self._root = WorkspaceFolders(root), root
        self.keeps(KEEP.sessions)

    def keeps(self, bound: KeepBound) -> None:
        self.kept = KeptSessions(self._root, lambda runtime: NAMES, bound)

    def worked(self, run: str, text: str = "hello", session: str = "s-1", **more: Any) -> Job:
        """An attempt whose program has remembered this; its files go at the end."""
        job = self.ready(job_of(run, **more), text)
        assert self.kept.keep(job, session, USED) == ""
        self.end(job)
        return job

    def ready(self, job: Job, text: str = "hello") -> Job:
        places = self.home.places(job.identity)
        (places.home / "c/projects/-x").mkdir(parents=True, exist_ok=True)
        (places.home / "c/projects/-x/s.jsonl").write_text(text)
        (places.home / "c/settings.json").write_text("{}")
        return job

    def end(self, job: Job) -> None:
        erase(self.home.places(job.identity).folder)
        self.home.leave_place(job.identity)


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def job_of(run: str, resume: Resumed | None = None, turns: TurnTerms | None = None) -> Job:
    named = {"identity": AttemptId(run=run, attempt=1, lease=1), "runtime": "claude"}
    return JOB.model_copy(update={**named, "resume": resume, "turns": turns})


def test_the_next_run_has_its_files_at_the_same_place(node: Node) -> None:
    first = node.worked("r-0001")
    job = job_of("r-0002", Resumed(run="r-0001", session="s-1"))
    for _ in range(2):  # as after a crash
        node.kept.go_on(job)
    places = node.home.places(job.identity)
    assert places.folder.name == str(first.identity) and node.home.attempts() == (job.identity,)
    places.home.mkdir()
    for _ in range(2):
        node.kept.put_back(job)
    assert (places.home / "c/projects/-x/s.jsonl").read_text() == "hello"
    assert not (places.home / "c/settings.json").exists(), "settings are not part of a session"
    assert node.kept.used_before(job) == USED
    node.worked("r-0002", "hello again", resume=job.resume)
    third = job_of("r-0003", Resumed(run="r-0002", session="s-1"))
    node.kept.go_on(third)
    node.home.places(third.identity).home.mkdir()
    node.kept.put_back(third)
    assert node.home.places(third.identity).folder.name == str(first.identity)
    whole = node.kept.used_before(third)
    assert (whole.input_tokens, whole.cost_usd) == (6, Decimal("1.0")), "the whole session's"


def test_a_place_has_one_attempt_at_a_time(node: Node) -> None:
    node.worked("r-0001")
    resume = Resumed(run="r-0001", session="s-1")
    one, other = job_of("r-0002", resume), job_of("r-0003", resume)
    node.kept.go_on(one)
    with pytest.raises(NotYet, match="r-0001"):
        node.kept.go_on(other)
    node.end(one)
    node.kept.go_on(other)
    assert node.home.attempts() == (other.identity,)


def test_the_run_itself_may_still_lie_there(node: Node) -> None:
    first = node.worked("r-0001")
    node.home.places(first.identity).folder.mkdir(parents=True)
    with pytest.raises(NotYet):
        node.kept.go_on(job_of("r-0002", Resumed(run="r-0001", session="s-1")))


def test_what_is_not_kept_is_said_with_what_to_do(node: Node) -> None:
    node.worked("r-0001")
    for resume in (Resumed(run="r-0009", session="s-1"), Resumed(run="r-0001", session="other")):
        with pytest.raises(StepFailed, match=f"pancode runs retry {resume.run}"):
            node.kept.go_on(job_of("r-0002", resume))


def test_no_link_is_followed_and_nothing_large_is_kept(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = job_of("r-0001")
    home = node.home.places(job.identity).home
    (home / "c").mkdir(parents=True)
    (tmp_path / "secret").write_text("s")
    (home / "c/projects").symlink_to(tmp_path)
    (home / "db").symlink_to(tmp_path / "secret")
    assert node.kept.keep(job, "s", USED) == "" and not (tmp_path / "sessions").exists()
    assert not node.kept.has(job, "s"), "its program named a session and wrote nothing"
    (home / "db").unlink()
    (home / "db").write_bytes(b"x" * 100)
    monkeypatch.setattr(homes, "MOST_BYTES", 99)
    assert "not stored" in node.kept.keep(job, "s", USED) and not node.kept.has(job, "s")
    monkeypatch.setattr(homes, "MOST_BYTES", 100)
    assert node.kept.keep(job, "s", USED) == "" and node.kept.has(job, "s")
    assert not node.kept.has(job, "a new one") and not node.kept.has(job, None)


@pytest.mark.parametrize("folders", [1, 3])
def test_no_more_names_are_looked_at_than_are_kept(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, folders: int
) -> None:
    """Empty files need no disk, so no limit of the run holds them."""
    job = job_of("r-0001")
    top = node.home.places(job.identity).home / "c/projects"
    for number in range(30):
        place = top / str(number % folders) / f"{number}.jsonl"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    monkeypatch.setattr(homes, "MOST_FILES", 20)
    assert "more than 20" in node.kept.keep(job, "s", USED)
    assert not (tmp_path / "sessions").exists()


def test_a_node_keeps_the_newest_and_lets_go_of_the_old(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "MOST_SESSIONS", 2)
    for number in range(1, 5):
        node.worked(f"r-000{number}")
        os.utime(tmp_path / f"sessions/r-000{number}", (number, number))
    assert sorted(os.listdir(tmp_path / "sessions")) == ["r-0003", "r-0004"]
    node.kept.trim(31 * 86_400_000)
    assert os.listdir(tmp_path / "sessions") == []


def talked(before: str = "") -> dict[str, Any]:
    """What makes the job one of an interactive run, which continues from the one before."""
    terms = TurnTerms(idle_ms=1, turn_ms=1, by="ana")
    return {"turns": terms, "resume": Resumed(run=before, session="s-1") if before else None}


def test_a_session_that_users_come_back_to_gives_way_to_another_one_alone(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(homes, "MOST_SESSIONS", 1)
    node.keeps(KeepBound(age_ms=DAY_MS, size=2 * len("hello")))
    node.worked("r-0001", **talked())
    node.worked("r-0002", **talked("r-0001"))
    node.worked("r-0003", **talked("r-0002"))
    assert sorted(os.listdir(tmp_path / "sessions")) == ["r-0002", "r-0003"], "the newest two of a chain"
    for number in (4, 5):
        node.worked(f"r-000{number}")
    assert sorted(os.listdir(tmp_path / "sessions")) == ["r-0002", "r-0003", "r-0005"]
    for number in (2, 3, 5):
        os.utime(tmp_path / f"sessions/r-000{number}", (number, number))
    job = node.ready(job_of("r-0006", **talked()))
    said = node.kept.keep(job, "s-1", USED)
    assert said.endswith(
        "used longest ago, of runs r-0002; their next interactive runs start with a summary "
        "instead of their memory"
    )
    assert sorted(os.listdir(tmp_path / "sessions")) == ["r-0003", "r-0005", "r-0006"]
    node.keeps(KeepBound(age_ms=DAY_MS, size=1))
    job = node.ready(job_of("r-0007", **talked("r-0006")))
    assert "used longest ago, of runs r-0003;" in node.kept.keep(job, "s-1", USED)
    left = sorted(os.listdir(tmp_path / "sessions"))
    assert left == ["r-0005", "r-0006", "r-0007"], "never what was used last"


def test_the_memory_of_an_interactive_run_is_on_the_disk_before_it_has_its_name(
    node: Node, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, rename = os.fsync, os.rename

    def synced(handle: int) -> None:
        done.append(os.readlink(f"/proc/self/fd/{handle}").removeprefix(f"{tmp_path}/sessions"))
        fsync(handle)

    def renamed(*names: Any, **more: Any) -> None:
        done.append("rename")
        rename(*names, **more)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    node.kept.keep(node.ready(job_of("r-0001", **talked())), "s-1", USED)
    before, after = done[: done.index("rename")], done[done.index("rename") + 1 :]
    top = "/.r-0001"
    files = {f"{top}/session.json", f"{top}/home/c/projects/-x/s.jsonl"}
    folders = {top, *(f"{top}/home{below}" for below in ("", "/c", "/c/projects", "/c/projects/-x"))}
    assert set(before) == files | folders and after == [""]
    done.clear()
    node.kept.keep(node.ready(job_of("r-0002")), "s-1", USED)
    assert done == ["rename"], "a run that nobody talks with loses no time on it"


def test_an_interactive_run_whose_memory_is_gone_begins_without(node: Node) -> None:
    node.worked("r-0001")
    for resume in (Resumed(run="r-0009", session="s-1"), Resumed(run="r-0001", session="other")):
        job = job_of("r-0002", resume, TurnTerms(idle_ms=1, turn_ms=1, by="ana"))
        node.kept.go_on(job)
        home = node.home.places(job.identity).home
        home.mkdir(parents=True, exist_ok=True)
        node.kept.put_back(job)
        assert os.listdir(home) == [], "nor does it have another session's"


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_runtime_that_resumes_says_what_of_its_home_is_a_session(name: str) -> None:
    runtime = RUNTIMES[name]
    assert runtime.capabilities.resume is bool(runtime.sessions)
    assert not any("auth" in one or "settings" in one for one in runtime.sessions)
