"""What the job relies on of workspaces and of the depot, in memory and with real git over a real socket."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from node_agent.attempt.ports import CommitStamp, DepotLink, LinkDown, StepFailed, WorkspacesPort
from node_agent.shim.spool import PhasePlan, Step, StepKind
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import AttemptId
from node_agent.wire.job import Job, Workspace
from node_agent.workspace.workspaces import Workspaces as GitWorkspaces
from pancode.git.depot import Depot
from tests.fakes.node import (
    MemoryClock,
    MemoryDepot,
    MemoryDepotLink,
    MemoryHost,
    MemoryRunner,
    MemoryWorkspaces,
    Script,
)
from tests.integration.git.depot_world import Depots
from tests.integration.git.repos import leave_a_mess, snap, workspace_of
from tests.unit.node_agent.stage import job_of

ONE = AttemptId.parse("r-aaaa.1.1")
STAMP = CommitStamp("did it", 1_790_000_000_000)
NONE = Workspace(kind="none")


@dataclass
class Room:
    """Both ports, and a hand on the far end and on the files."""

    spaces: WorkspacesPort
    link: DepotLink
    git: Workspace
    outputs: Path
    work: Callable[[], None]
    """An agent changes a.txt in the checkout and writes 5 bytes of output."""
    cut: Callable[[bool], None]
    set_up: Callable[[], None]
    """Set-up leaves venv.cfg in the checkout."""
    arrived: Callable[[], str | None]
    """The commit at the attempt's ref in the depot."""
    lock: Callable[[str], Workspace]
    """Another lockfile in the repository, and the workspace of a snapshot with it."""
    log: Callable[[AttemptId], bytes]
    """What set-up's log of an attempt says."""


@pytest.fixture(params=["memory", "new", "warm"])
def room(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Room]:
    """`new`: the first checkout of the repository there; `warm`: an attempt was there before."""
    yield from _in_memory() if request.param == "memory" else _for_real(tmp_path, request.param == "warm")


def _in_memory() -> Iterator[Room]:
    host, depot = MemoryHost(MemoryClock(), _five_bytes), MemoryDepot()
    runner = MemoryRunner(host)
    git = Workspace(kind="git", repo="repo-1", base="a" * 40, snapshot="a" * 40)
    outputs = Path("/j")

    def work() -> None:
        step = Step("agent", StepKind.AGENT, ("x",), "/j/out", "/j/out")
        runner.start(outputs, PhasePlan(str(ONE), "work", str(ONE), "/", {}, (step,)))
        host.trees[str(ONE)] = True

    def cut(down: bool) -> None:
        depot.down = down

    spaces, link = MemoryWorkspaces(host, depot), MemoryDepotLink(depot, runner)

    def set_up() -> None:
        host.set_up.add(str(ONE))

    def lock(text: str) -> Workspace:
        host.lockfile = text
        return git

    def log(identity: AttemptId) -> bytes:
        return host.logs.get(str(outputs / str(identity)), b"")

    def arrived() -> str | None:
        return depot.commits.get(str(ONE))

    yield Room(spaces, link, git, outputs, work, cut, set_up, arrived, lock, log)


def _five_bytes(identity: AttemptId) -> Script:
    return Script(output=b"five\n", setup_files=("venv.cfg",))


def _for_real(tmp_path: Path, is_warm: bool) -> Iterator[Room]:
    world = Depots(tmp_path, Depot(tmp_path / "depots"))
    world.server.start()
    spaces = GitWorkspaces(tmp_path / "n", world.client)
    away = world.socket.with_suffix(".away")

    def work() -> None:
        (spaces.tree(ONE) / "a.txt").write_text("changed it all\n")
        (tmp_path / "out").write_bytes(b"five\n")

    def cut(down: bool) -> None:
        (world.socket if down else away).rename(away if down else world.socket)

    def arrived() -> str | None:
        return world.depot.git(world.taken.repo_id).ask("rev-parse", "-q", "--verify", ONE.ref).text() or None

    def set_up() -> None:
        (spaces.tree(ONE) / "venv.cfg").write_text("home = /x\n")
        (spaces.tree(ONE) / "lib").mkdir(exist_ok=True)
        (spaces.tree(ONE) / "lib" / "a").write_text("made\n")

    def lock(text: str) -> Workspace:
        world.repo.write("uv.lock", text)
        return workspace_of(snap(world.repo, world.depot))

    def log(identity: AttemptId) -> bytes:
        path = tmp_path / str(identity)
        return path.read_bytes() if path.exists() else b""

    git = workspace_of(world.taken)
    if is_warm:
        leave_a_mess(spaces, git, AttemptId.parse("r-aaaa.9.9"))
    yield Room(spaces, world.client, git, tmp_path, work, cut, set_up, arrived, lock, log)
    world.server.stop()


def test_prepare_is_repeatable(room: Room) -> None:
    first = room.spaces.prepare(ONE, room.git)
    assert room.spaces.prepare(ONE, room.git) == first
    assert room.spaces.list() == (ONE,)
    home = room.spaces.home(ONE, {"a/b": b"x"})
    assert room.spaces.home(ONE, {"a/b": b"x", "c": b"y"}) == home
    assert first not in home.parents and home not in first.parents


def test_a_cut_link_is_a_link_that_is_down(room: Room) -> None:
    room.cut(True)
    with pytest.raises(LinkDown):
        room.spaces.prepare(ONE, room.git)
    room.cut(False)
    room.spaces.prepare(ONE, room.git)
    room.cut(True)
    room.spaces.prepare(ONE, room.git)  # what is there needs no link
    room.work()
    made = room.spaces.commit(ONE, room.git, STAMP)
    assert made.commit is not None
    with pytest.raises(LinkDown):
        room.spaces.push(ONE, room.git, made.commit)
    with pytest.raises(LinkDown):
        room.link.upload(ONE, "out", room.outputs / "out")
    room.cut(False)
    room.spaces.push(ONE, room.git, made.commit)
    assert room.arrived() == made.commit


def test_what_was_fetched_needs_no_link_to_begin(room: Room) -> None:
    room.cut(True)
    with pytest.raises(LinkDown):
        room.spaces.fetch(ONE, room.git)
    room.cut(False)
    for _ in range(2):
        room.spaces.fetch(ONE, room.git)
    room.spaces.fetch(AttemptId.parse("r-none.1.1"), Workspace(kind="none"))
    room.cut(True)
    room.spaces.trim(1_790_000_000_000)
    room.spaces.prepare(ONE, room.git)


def test_the_same_files_make_the_same_commit(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    room.work()
    first = room.spaces.commit(ONE, room.git, STAMP)
    assert first.kind == "change" and first.files_changed == ("a.txt",)
    assert room.spaces.commit(ONE, room.git, STAMP) == first
    assert first.commit is not None
    assert room.spaces.changed_since(ONE, first.commit) == ()
    for _ in range(2):
        room.spaces.push(ONE, room.git, first.commit)
    assert room.arrived() == first.commit


def test_a_secret_in_the_result_is_named_and_one_that_is_not_there_is_not(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    room.work()
    commit = room.spaces.commit(ONE, room.git, STAMP).commit
    assert commit is not None
    hidden = {"KEY": "changed it all", "OTHER": "what is not there", "SHORT": "all"}
    assert room.spaces.exposed(ONE, room.git, commit, hidden) == (("KEY", "a.txt"),)
    assert room.spaces.exposed(ONE, room.git, commit, {}) == ()


def test_nothing_done_is_said(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    made = room.spaces.commit(ONE, room.git, STAMP)
    assert (made.kind, made.commit) == ("empty", None)


def test_what_set_up_left_is_not_in_the_result(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    room.set_up()
    baseline = room.spaces.baseline(ONE, room.git)
    assert room.spaces.baseline(ONE, room.git) == baseline
    assert room.spaces.commit(ONE, room.git, STAMP, baseline).kind == "empty"
    room.work()
    made = room.spaces.commit(ONE, room.git, STAMP, baseline)
    assert made.files_changed == ("a.txt",) and made.commit is not None
    assert room.spaces.changed_since(ONE, made.commit, baseline) == ()
    assert room.spaces.commit(ONE, room.git, STAMP).files_changed != ("a.txt",)  # else it would be there
    with pytest.raises(StepFailed):
        room.spaces.commit(ONE, room.git, STAMP, "0" * 64)


def test_the_gates_have_a_checkout_of_their_own_and_the_agents_comes_back(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    room.spaces.home(ONE, {})
    room.work()
    commit = str(room.spaces.commit(ONE, room.git, STAMP).commit)
    job = _job(ONE, room.git).model_copy(update={"cache": ()})
    for _ in range(2):
        assert not room.spaces.set_apart(job, commit, {}, room.outputs / "log", {}).restored
    assert room.spaces.changed_since(ONE, commit) == room.spaces.beside(ONE, commit) == ()
    room.spaces.bring_back(ONE)
    room.spaces.bring_back(ONE)
    assert room.spaces.commit(ONE, room.git, STAMP).commit == commit
    room.spaces.push(ONE, room.git, commit)
    assert room.arrived() == commit


def _job(who: AttemptId, workspace: Workspace) -> Job:
    return job_of(identity=who, workspace=workspace, setup=(("make",),), cache=("lib",))


def test_what_set_up_made_is_put_back_under_its_key(room: Room) -> None:
    one = _job(ONE, room.lock("1"))
    room.spaces.prepare(ONE, one.workspace)
    first = room.spaces.put_back(one, room.outputs / str(ONE), {})
    assert first.key is not None and (first.restored, first.findings, room.log(ONE)) == (False, (), b"")
    assert room.spaces.put_back(one, room.outputs / str(ONE), {}) == first
    room.set_up()
    for _ in range(2):
        assert room.spaces.keep(one, first.key) == ()
    room.spaces.remove(ONE, one.workspace)
    room.spaces.prepare(ONE, one.workspace)
    for _ in range(2):
        back = room.spaces.put_back(one, room.outputs / str(ONE), {})
        assert (back.key, back.restored, back.findings) == (first.key, True, ())
        assert first.key.encode() in room.log(ONE)
    baseline = room.spaces.baseline(ONE, one.workspace)
    assert room.spaces.commit(ONE, one.workspace, STAMP, baseline).kind == "empty"
    room.spaces.trim(1_790_000_000_000 + (30 << 32))  # some years later
    gone = room.spaces.put_back(one, room.outputs / str(ONE), {})
    assert (gone.key, gone.restored, room.log(ONE)) == (first.key, False, b"")


def test_another_lockfile_is_another_key(room: Room) -> None:
    keys = set()
    for text in ("1", "2"):
        job = _job(ONE, room.lock(text))
        room.spaces.prepare(ONE, job.workspace)
        keys.add(room.spaces.put_back(job, room.outputs / str(ONE), {}).key)
        room.spaces.remove(ONE, job.workspace)
    assert len(keys) == 2 and None not in keys


def test_nothing_is_kept_without_a_repository(room: Room) -> None:
    room.spaces.prepare(ONE, NONE)
    back = room.spaces.put_back(_job(ONE, NONE), room.outputs / str(ONE), {})
    assert (back.key, back.restored) == (None, False)
    assert back.findings[0].startswith("nothing of set-up is cached")


def test_no_workspace(room: Room) -> None:
    room.cut(True)  # it needs no depot
    room.spaces.prepare(ONE, NONE)
    baseline = room.spaces.baseline(ONE, NONE)
    assert room.spaces.commit(ONE, NONE, STAMP).kind == "none"
    assert room.spaces.commit(ONE, NONE, STAMP, baseline).kind == "none"
    room.spaces.remove(ONE, NONE)
    room.cut(False)


def test_commit_of_what_is_not_there(room: Room) -> None:
    with pytest.raises(StepFailed) as failed:
        room.spaces.commit(ONE, room.git, STAMP)
    assert failed.value.kind is FailureKind.WORKSPACE


def test_remove_is_repeatable(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    room.spaces.home(ONE, {})
    for _ in range(2):
        room.spaces.remove(ONE, room.git)
    assert room.spaces.list() == ()


def test_an_upload_is_whole_and_repeatable(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    room.work()
    room.link.follow(ONE, "out", room.outputs / "out")
    first = room.link.upload(ONE, "out", room.outputs / "out")
    assert (first.name, first.size) == ("out", 5)
    assert room.link.upload(ONE, "out", room.outputs / "out") == first


def test_ports_belong_to_one_attempt_while_it_is_live(room: Room) -> None:
    two, three = AttemptId.parse("r-bbbb.1.1"), AttemptId.parse("r-cccc.1.1")
    live = {str(ONE), str(two), str(three)}
    left = live - {str(ONE)}
    first, second = (
        room.spaces.reserve_ports(one, count, lambda: live) for one, count in ((ONE, 3), (two, 2))
    )
    assert len({*first, *second}) == 5
    assert room.spaces.reserve_ports(ONE, 3, lambda: live) == first, "after a crash, the same"
    assert not {*room.spaces.reserve_ports(three, 3, lambda: left)} & {*second}


def test_copied_files_are_in_the_checkout_and_in_no_result(room: Room) -> None:
    room.spaces.prepare(ONE, room.git)
    room.spaces.lay_copied(ONE, room.git, {".env.local": b"KEY=1\n", "config/site.key": b"\0"})
    room.spaces.lay_copied(ONE, room.git, {".env.local": b"KEY=1\n", "config/site.key": b"\0"})
    made = room.spaces.commit(ONE, room.git, STAMP)
    assert not {".env.local", "config/site.key"} & {*made.files_changed}


def test_a_tracked_file_is_no_copy_and_the_run_begins_all_the_same(room: Room) -> None:
    work = room.lock("1")
    room.spaces.prepare(ONE, work)
    for _ in range(2):
        told = room.spaces.lay_copied(ONE, work, {".env.local": b"KEY=1\n", "uv.lock": b"other"})
        assert told == ("git tracks uv.lock in this commit, so it cannot be a copy",)
    assert "uv.lock" not in room.spaces.commit(ONE, work, STAMP).files_changed
