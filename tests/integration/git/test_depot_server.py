"""The depot's server over a real unix socket, and the node's client against it."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from node_agent import ports
from node_agent.ports import LinkDown, Stamp, StepFailed
from node_agent.wire.gitsafe import git_env
from node_agent.wire.hello import Verb
from node_agent.wire.identity import AttemptId
from node_agent.workspace.depot_client import DepotClient
from node_agent.workspace.depot_stream import Door, ask, read_line, send
from node_agent.workspace.mirror import make_bare
from node_agent.workspace.workspaces import Workspaces
from pancode.adapters.git.depot import Depot
from pancode.adapters.git.depot_server import DepotParts, DepotServer, ServerLimits, StreamEnd
from pancode.adapters.git.grants import Grant, Refusal, grant_for
from pancode.adapters.git.snapshot import Snapshot
from pancode.adapters.git.streams import Streams
from tests.integration.git.repos import NOW_MS, Repo, attempt, simple, snap, sound, tree_of, workspace_of

STAMP = Stamp("result", NOW_MS)


class CountingIds:
    """Ids for a test: every token another one."""

    def __init__(self) -> None:
        self._next = 0

    def token(self, nbytes: int) -> str:
        self._next += 1
        return f"{self._next:0{2 * nbytes}x}"

    def short(self, length: int) -> str:
        return self.token(length)[:length]


class World:
    """A server with one project, one snapshot, and an authority that knows one attempt."""

    def __init__(self, tmp_path: Path, depot: Depot) -> None:
        self.home = tmp_path / "coordinator"
        self.depot = depot
        self.repo = simple(tmp_path / "project")
        self.repo.write("big.bin", os.urandom(3_000_000))
        self.taken: Snapshot = snap(self.repo, depot)
        self.other: Snapshot = snap(self.repo, depot, "r-bbbb")
        self.socket = tmp_path / "s" / "depot.sock"
        self.streams = Streams(self.home)
        self.ends: list[StreamEnd] = []
        self.max_bytes = 50_000_000
        parts = DepotParts(depot, self.streams, self.authorize, CountingIds(), self.ends.append)
        self.server = DepotServer(self.socket, parts, ServerLimits(hello_s=1.0, idle_s=2.0))
        self.client = DepotClient(Door(lambda: self.socket, self.sign, 5.0))

    def sign(self, nonce: str, verb: Verb, identity: AttemptId) -> bytes:
        return json.dumps({"signed": nonce, "verb": verb, "identity": str(identity)}).encode()

    def authorize(self, hello: bytes, nonce: str) -> Grant | Refusal:
        said = json.loads(hello)
        if said["signed"] != nonce:
            return Refusal("replayed")
        identity = AttemptId.parse(said["identity"])
        if identity.run == "r-wait":
            return Refusal("not yet", retry=True)
        if identity.run != "r-aaaa":
            return Refusal("not granted")
        return grant_for(said["verb"], identity, self.taken.repo_id, self.max_bytes)

    def ended(self, count: int) -> list[StreamEnd]:
        """The first `count` stream ends, once they are there."""
        _until(lambda: len(self.ends) >= count)
        return self.ends


def _until(true: object, seconds: float = 10.0) -> None:
    assert callable(true)
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "did not become true"
        time.sleep(0.01)


@pytest.fixture
def world(tmp_path: Path, depot: Depot) -> Iterator[World]:
    world = World(tmp_path, depot)
    world.server.start()
    yield world
    world.server.stop()


def _children() -> set[str]:
    """Command lines of this process' git children, and of theirs."""
    listed = subprocess.run(["ps", "-eo", "pid,ppid,args"], capture_output=True, text=True, check=True).stdout
    rows = [line.split(None, 2) for line in listed.splitlines()[1:]]
    mine, grown = {str(os.getpid())}, True
    while grown:
        more = {row[0] for row in rows if row[1] in mine} - mine
        mine, grown = mine | more, bool(more)
    return {row[2] for row in rows if row[0] in mine and "pack" in row[2] and "git" in row[2]}


def test_the_socket_is_for_its_owner_only(world: World) -> None:
    assert world.socket.stat().st_mode & 0o777 == 0o600


def test_an_attempt_travels_both_ways(world: World, tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path / "node", world.client)
    order = workspace_of(world.taken)
    tree = spaces.prepare(attempt(), order)
    assert (tree / "big.bin").read_bytes() == (world.repo.path / "big.bin").read_bytes()
    (tree / "answer").write_text("42\n")
    made = spaces.commit(attempt(), order, STAMP)
    assert made.commit is not None
    spaces.push(attempt(), order, made.commit)
    spaces.push(attempt(), order, made.commit)
    assert world.depot.verify_result(world.taken.repo_id, attempt(), made.commit).ok
    assert tree_of(world.depot, world.taken, made.commit)["answer"][1] == b"42\n"
    packs = (world.depot.path(world.taken.repo_id) / "objects" / "pack").glob("*.pack")
    sent = [path.stat().st_size for path in packs]
    assert sorted(sent)[0] < 2_000, "the push sent the base again"
    assert [end.problem for end in world.ended(3)] == ["", "", ""]


def test_two_clients_at_once(world: World, tmp_path: Path) -> None:
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            who = attempt(number=number, fence=number)
            spaces = Workspaces(tmp_path / f"node{number}", world.client)
            (spaces.prepare(who, workspace_of(world.taken)) / "mine").write_text(str(number))
            made = spaces.commit(who, workspace_of(world.taken), STAMP)
            spaces.push(who, workspace_of(world.taken), made.commit or "")
            assert world.depot.verify_result(world.taken.repo_id, who, made.commit or "").ok
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    sound(world.depot, world.taken)


def _git_stream(world: World, verb: Verb, repository: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Plain git over a granted stream, asking for what it likes."""
    peer = world.client._door.open(verb, attempt())
    peer.setblocking(True)
    env = git_env(os.environ, {"protocol.fd.allow": "always", "protocol.version": "2"})
    command = [word.replace("DEPOT", f"fd::{peer.fileno()}") for word in args]
    try:
        return subprocess.run(
            ["git", *command],
            cwd=repository,
            env=env | {"GIT_DIR": str(repository), "GIT_PROTOCOL": "version=2"},
            pass_fds=[peer.fileno()],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        peer.close()


def test_hidden_refs_and_objects_cannot_be_stolen(world: World, tmp_path: Path) -> None:
    bare = tmp_path / "thief"
    make_bare(bare, "sha1")
    listed = _git_stream(world, "fetch", bare, "ls-remote", "DEPOT").stdout
    assert [line.split("\t")[1] for line in listed.splitlines()] == ["refs/pancode/snap/r-aaaa"]
    secret = world.depot.git(world.taken.repo_id).must("hash-object", "-w", "--stdin", stdin=b"secret").text()
    for wanted in ("refs/pancode/snap/r-bbbb", world.other.snapshot_commit, secret):
        done = _git_stream(world, "fetch", bare, "fetch", "DEPOT", f"{wanted}:refs/stolen")
        assert done.returncode != 0, wanted
    assert Repo(bare, init=False).git("for-each-ref") == ""


@pytest.mark.parametrize(
    "target",
    ["refs/heads/main", "refs/pancode/snap/r-aaaa", "refs/pancode/r-aaaa/1.2", "refs/pancode/r-bbbb/1.1"],
)
def test_only_the_granted_ref_can_be_pushed(target: str, world: World, tmp_path: Path) -> None:
    clone = tmp_path / "clone.git"
    make_bare(clone, "sha1")
    world.client.fetch(attempt(), clone, "refs/pancode/snap/r-aaaa")
    before = world.depot.git(world.taken.repo_id).text("for-each-ref")
    base = str(world.taken.base_commit)
    for source in (base, ""):
        done = _git_stream(world, "push", clone, "push", "--force", "DEPOT", f"{source}:{target}")
        assert done.returncode != 0
    own = attempt().ref
    done = _git_stream(world, "push", clone, "push", "-f", "DEPOT", f"{base}:{own}", f"{base}:{target}")
    assert done.returncode != 0
    assert world.depot.git(world.taken.repo_id).text("for-each-ref") == before


def test_a_delivered_result_cannot_be_replaced_or_deleted(world: World, tmp_path: Path) -> None:
    clone = tmp_path / "clone.git"
    make_bare(clone, "sha1")
    world.client.fetch(attempt(), clone, "refs/pancode/snap/r-aaaa")
    world.client.push(attempt(), clone, world.taken.snapshot_commit)
    with pytest.raises(StepFailed, match="already delivered|rejected"):
        world.client.push(attempt(), clone, str(world.taken.base_commit))
    done = _git_stream(world, "push", clone, "push", "DEPOT", f":{attempt().ref}")
    assert done.returncode != 0
    assert world.depot.result_at(world.taken.repo_id, attempt()) == world.taken.snapshot_commit


def test_a_push_over_its_size_is_refused_and_leaves_nothing(world: World, tmp_path: Path) -> None:
    world.max_bytes = 100_000
    spaces = Workspaces(tmp_path / "node", world.client)
    order = workspace_of(world.taken)
    (spaces.prepare(attempt(), order) / "blob").write_bytes(os.urandom(400_000))
    made = spaces.commit(attempt(), order, STAMP)
    with pytest.raises(StepFailed, match="maximum allowed size|refused"):
        spaces.push(attempt(), order, made.commit or "")
    objects = world.depot.path(world.taken.repo_id) / "objects"
    assert not [path for path in objects.rglob("*") if "tmp" in path.name or "incoming" in path.name]
    assert not world.depot.verify_result(world.taken.repo_id, attempt(), made.commit or "").ok


def test_broken_objects_are_refused(world: World, tmp_path: Path) -> None:
    clone = Repo(tmp_path / "evil")
    blob = clone.git("hash-object", "-w", "--stdin", stdin=b"#!/bin/sh\n")
    tree = clone.git("mktree", stdin=f"100644 blob {blob}\t.git\n".encode(), check=False)
    commit = clone.git("commit-tree", tree, "-m", "evil")
    with pytest.raises(StepFailed, match="refused"):
        world.client.push(attempt(), clone.path / ".git", commit)
    assert world.depot.result_at(world.taken.repo_id, attempt()) is None


def test_history_that_fsck_would_refuse_still_travels_to_the_node(world: World, tmp_path: Path) -> None:
    old = simple(tmp_path / "old", 1)
    raw = old.git("cat-file", "commit", "HEAD").replace("+0000", "+051800").encode() + b"\n"
    commit = old.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
    old.git("reset", "-q", "--hard", commit)
    world.taken = snap(old, world.depot)
    tree = Workspaces(tmp_path / "node", world.client).prepare(attempt(), workspace_of(world.taken))
    assert (tree / "f1").read_text() == "1\n"


def test_a_killed_fetch_leaves_no_children(world: World, tmp_path: Path) -> None:
    peer = world.client._door.open("fetch", attempt())
    peer.setblocking(True)
    bare = tmp_path / "bare"
    make_bare(bare, "sha1")
    process = subprocess.Popen(
        ["git", "fetch", "-q", f"fd::{peer.fileno()}", "refs/pancode/snap/r-aaaa:refs/x"],
        cwd=bare,
        env=git_env(os.environ, {"protocol.fd.allow": "always"}) | {"GIT_DIR": str(bare)},
        pass_fds=[peer.fileno()],
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    peer.close()
    _until(lambda: any("upload-pack" in line for line in _children()))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    _until(lambda: not _children())
    world.ended(1)


def test_a_client_that_says_nothing_holds_nothing(world: World) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(str(world.socket))
    assert "nonce" in read_line(silent)
    (end,) = world.ended(1)
    assert end.grant is None
    silent.close()
    stuck = world.client._door.open("fetch", attempt())
    _until(lambda: bool(_children()))
    stuck.close()
    _until(lambda: not _children())


def test_a_replayed_or_foreign_hello_is_refused(world: World) -> None:
    stale = DepotClient(Door(lambda: world.socket, lambda n, v, i: world.sign("0", v, i), 5.0))
    with pytest.raises(StepFailed, match="replayed"):
        stale.follow(attempt(), "out", Path(__file__))
    with pytest.raises(StepFailed, match="not granted"):
        world.client.follow(attempt("r-cccc"), "out", Path(__file__))
    with pytest.raises(LinkDown, match="not yet"):
        world.client.follow(attempt("r-wait"), "out", Path(__file__))


def test_no_link_and_no_server_mean_later(world: World, tmp_path: Path) -> None:
    for address in (None, tmp_path / "nothing.sock", ("127.0.0.1", 1)):
        away = DepotClient(Door(lambda a=address: a, world.sign, 2.0))  # type: ignore[misc]
        with pytest.raises(LinkDown):
            away.follow(attempt(), "out", Path(__file__))


def test_a_server_that_stops_in_the_middle_means_later(world: World, tmp_path: Path) -> None:
    peer = world.client._door.open("log", attempt())
    world.server.stop()
    with pytest.raises(LinkDown):
        ask(peer, op="size", name="out")
    peer.close()
    with pytest.raises(LinkDown):
        world.client.fetch(attempt(), tmp_path, "refs/pancode/snap/r-aaaa")
    assert not world.socket.exists()


def test_stop_ends_streams_that_are_open(world: World) -> None:
    peer = world.client._door.open("fetch", attempt())
    _until(lambda: bool(_children()))
    world.server.stop()
    assert _children() == set()
    peer.close()


def test_a_log_grows_by_offset_and_is_whole_at_the_end(world: World, tmp_path: Path) -> None:
    port: ports.DepotLink = world.client
    log = tmp_path / "out"
    log.write_bytes(b"one\n")
    port.follow(attempt(), "out", log)
    log.write_bytes(b"one\ntwo\n")
    port.follow(attempt(), "out", log)
    assert world.streams.size(attempt(), "out") == 8
    data = os.urandom(1_000_000)
    log.write_bytes(b"one\ntwo\n" + data)
    blob = port.upload(attempt(), "out", log)
    assert world.streams.log(attempt(), "out").read_bytes() == b"one\ntwo\n" + data
    assert world.streams.holds(attempt(), "out", blob.size, blob.sha256)
    assert not world.streams.holds(attempt(), "out", blob.size + 1, blob.sha256)
    assert port.upload(attempt(), "out", log) == blob
    assert world.streams.log(attempt(), "out").parent == world.home / "logs" / "r-aaaa" / "1.1"


def test_an_empty_log_is_whole(world: World, tmp_path: Path) -> None:
    empty = tmp_path / "err"
    empty.touch()
    blob = world.client.upload(attempt(), "err", empty)
    assert blob.size == 0


def test_a_log_that_changed_is_refused(world: World, tmp_path: Path) -> None:
    log = tmp_path / "out"
    log.write_bytes(b"first version")
    world.client.follow(attempt(), "out", log)
    log.write_bytes(b"OTHER version, longer")
    with pytest.raises(StepFailed, match="other bytes"):
        world.client.upload(attempt(), "out", log)
    log.write_bytes(b"short")
    with pytest.raises(StepFailed, match="here are 5"):
        world.client.upload(attempt(), "out", log)


def _append(peer: socket.socket, offset: int, data: bytes) -> dict[str, object]:
    send(
        peer,
        json.dumps({"op": "append", "name": "out", "offset": offset, "length": len(data)}).encode() + b"\n",
    )
    answer = dict(read_line(peer))
    if not answer.get("go"):
        return answer
    send(peer, data)
    return dict(read_line(peer))


def test_gap_overlap_and_difference(world: World) -> None:
    peer = world.client._door.open("log", attempt())
    assert _append(peer, 0, b"abcdef") == {"ok": True, "size": 6}
    assert _append(peer, 7, b"x")["size"] == 6
    assert _append(peer, 3, b"defghi") == {"ok": True, "size": 9}
    assert _append(peer, 2, b"cd") == {"ok": True, "size": 9}
    refused = _append(peer, 3, b"dXfghijkl")
    assert (refused["ok"], refused["size"]) == (False, 9)
    assert world.streams.log(attempt(), "out").read_bytes() == b"abcdefghi"
    world.max_bytes = 10
    peer.close()
    peer = world.client._door.open("log", attempt())
    assert _append(peer, 9, b"too much")["ok"] is False
    peer.close()


def test_a_torn_append_is_kept_and_continued(world: World, tmp_path: Path) -> None:
    peer = world.client._door.open("log", attempt())
    send(peer, b'{"op":"append","name":"out","offset":0,"length":10}\n')
    read_line(peer)
    send(peer, b"abc")
    peer.close()
    _until(lambda: any("TornStream" in end.problem for end in world.ends))
    log = tmp_path / "out"
    log.write_bytes(b"abcdefghij")
    world.client.upload(attempt(), "out", log)
    assert world.streams.log(attempt(), "out").read_bytes() == b"abcdefghij"


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "..", ".hidden", "", "-x", "a\0b", "x\n"])
def test_a_name_that_is_no_plain_name_is_refused(name: str, world: World) -> None:
    peer = world.client._door.open("log", attempt())
    with pytest.raises(LinkDown):
        ask(peer, op="size", name=name)
    peer.close()
    assert not (world.home / "logs").exists()


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b"nonsense\n",
        b'{"op":"blob"}\n',
        b'{"op":"append","name":"x","offset":-1,"length":1}\n',
        b"x" * 20_000,
    ],
)
def test_a_request_that_is_none_ends_the_stream(line: bytes, world: World) -> None:
    peer = world.client._door.open("log", attempt())
    send(peer, line)
    assert select.select([peer], [], [], 5.0)[0]
    with pytest.raises(LinkDown):
        read_line(peer)
    peer.close()
    assert world.ended(1)[0].problem


def test_artifacts_are_whole_or_absent(world: World, tmp_path: Path) -> None:
    path = tmp_path / "report.xml"
    path.write_bytes(os.urandom(500_000))
    blob = world.client.upload_artifact(attempt(), "report.xml", path)
    assert world.client.upload_artifact(attempt(), "report.xml", path) == blob
    assert world.streams.holds(attempt(), "report.xml", blob.size, blob.sha256)
    peer = world.client._door.open("artifact", attempt())
    ask(peer, op="blob", sha256="0" * 64, length=3)
    send(peer, b"abc")
    assert read_line(peer)["ok"] is False
    peer.close()
    assert not world.streams.artifact("0" * 64).exists()
    assert not list((world.home / "artifacts").rglob(".new-*"))


def test_a_link_is_not_uploaded(world: World, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("s")
    (tmp_path / "out").symlink_to(tmp_path / "secret")
    with pytest.raises(StepFailed, match="cannot be read"):
        world.client.upload(attempt(), "out", tmp_path / "out")
