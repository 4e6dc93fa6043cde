"""The depot's server over a real unix socket: git in both directions, and who is refused."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import threading
from pathlib import Path

import pytest

from node_agent.attempt.ports import CommitStamp, LinkDown, StepFailed
from node_agent.wire.failure import FailureKind
from node_agent.wire.git import git_env
from node_agent.wire.node import Verb
from node_agent.workspace.depot import DepotAccess, DepotClient, read_line, send_request
from node_agent.workspace.mirror import make_bare
from node_agent.workspace.workspaces import Workspaces
from tests.integration.git.depot_world import Depots, git_children, until
from tests.integration.git.repos import NOW_MS, Repo, attempt, simple, snap, sound, tree_of, workspace_of
from tests.open_files import few_files

STAMP = CommitStamp("result", NOW_MS)


def test_the_socket_is_for_its_owner_only(world: Depots) -> None:
    assert world.socket.stat().st_mode & 0o777 == 0o600


def test_an_attempt_travels_both_ways(world: Depots, tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path / "node", world.client)
    job = workspace_of(world.taken)
    tree = spaces.prepare(attempt(), job)
    assert (tree / "big.bin").read_bytes() == (world.repo.path / "big.bin").read_bytes()
    (tree / "answer").write_text("42\n")
    made = spaces.commit(attempt(), job, STAMP)
    assert made.commit is not None
    spaces.push(attempt(), job, made.commit)
    spaces.push(attempt(), job, made.commit)
    assert world.depot.verify_result(world.taken.repo_id, attempt(), made.commit)
    assert tree_of(world.depot, world.taken, made.commit)["answer"][1] == b"42\n"
    packs = (world.depot.path(world.taken.repo_id) / "objects" / "pack").glob("*.pack")
    sent = [path.stat().st_size for path in packs]
    assert sorted(sent)[0] < 2_000, "the push sent the base again"
    assert [end.problem for end in world.ended(3)] == ["", "", ""]


def test_two_clients_at_once(world: Depots, tmp_path: Path) -> None:
    failed: list[Exception] = []

    def work(number: int) -> None:
        try:
            who = attempt(number=number, lease=number)
            spaces = Workspaces(tmp_path / f"node{number}", world.client)
            (spaces.prepare(who, workspace_of(world.taken)) / "mine").write_text(str(number))
            made = spaces.commit(who, workspace_of(world.taken), STAMP)
            spaces.push(who, workspace_of(world.taken), made.commit or "")
            assert world.depot.verify_result(world.taken.repo_id, who, made.commit or "")
        except Exception as exc:
            failed.append(exc)

    threads = [threading.Thread(target=work, args=(number,)) for number in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    sound(world.depot, world.taken)


def _git_stream(world: Depots, verb: Verb, repository: Path, *args: str) -> subprocess.CompletedProcess[str]:
    """Plain git over a granted stream, asking for what it likes."""
    peer = world.client._listener.open(verb, attempt())
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


def test_hidden_refs_and_objects_cannot_be_stolen(world: Depots, tmp_path: Path) -> None:
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
def test_only_the_granted_ref_can_be_pushed(target: str, world: Depots, tmp_path: Path) -> None:
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


def test_the_snapshot_cannot_even_be_moved_forward(world: Depots, tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path / "node", world.client)
    job = workspace_of(world.taken)
    (spaces.prepare(attempt(), job) / "new").write_text("n")
    made = spaces.commit(attempt(), job, STAMP)
    out = tmp_path / "node" / "work" / "r-aaaa.1.1" / "out.git"
    done = _git_stream(world, "push", out, "push", "DEPOT", f"{made.commit}:refs/pancode/snap/r-aaaa")
    assert "not granted" in done.stderr
    assert (
        world.depot.git(world.taken.repo_id)
        .ask("rev-parse", "-q", "--verify", "refs/pancode/snap/r-aaaa")
        .text()
    ) == job.snapshot


def test_a_delivered_result_cannot_be_replaced_or_deleted(world: Depots, tmp_path: Path) -> None:
    clone = tmp_path / "clone.git"
    make_bare(clone, "sha1")
    world.client.fetch(attempt(), clone, "refs/pancode/snap/r-aaaa")
    world.client.push(attempt(), clone, world.taken.snapshot_commit)
    with pytest.raises(StepFailed, match="already delivered|rejected"):
        world.client.push(attempt(), clone, str(world.taken.base_commit))
    done = _git_stream(world, "push", clone, "push", "DEPOT", f":{attempt().ref}")
    assert done.returncode != 0
    assert (
        world.depot.git(world.taken.repo_id).ask("rev-parse", "-q", "--verify", attempt().ref).text()
    ) == world.taken.snapshot_commit


def test_a_push_over_its_size_is_refused_and_leaves_nothing(world: Depots, tmp_path: Path) -> None:
    world.max_bytes = 100_000
    spaces = Workspaces(tmp_path / "node", world.client)
    job = workspace_of(world.taken)
    (spaces.prepare(attempt(), job) / "blob").write_bytes(os.urandom(2_000_000))
    made = spaces.commit(attempt(), job, STAMP)
    with pytest.raises(StepFailed, match="maximum allowed size|refused") as failed:
        spaces.push(attempt(), job, made.commit or "")
    assert failed.value.kind is FailureKind.RESULT_REFUSED
    objects = world.depot.path(world.taken.repo_id) / "objects"
    assert not [path for path in objects.rglob("*") if "tmp" in path.name or "incoming" in path.name]
    assert not world.depot.verify_result(world.taken.repo_id, attempt(), made.commit or "")


def test_broken_objects_are_refused(world: Depots, tmp_path: Path) -> None:
    clone = Repo(tmp_path / "evil")
    blob = clone.git("hash-object", "-w", "--stdin", stdin=b"#!/bin/sh\n")
    tree = clone.git("mktree", stdin=f"100644 blob {blob}\t.git\n".encode(), check=False)
    commit = clone.git("commit-tree", tree, "-m", "evil")
    with pytest.raises(StepFailed, match="refused") as failed:
        world.client.push(attempt(), clone.path / ".git", commit)
    assert failed.value.kind is FailureKind.RESULT_REFUSED
    assert (
        world.depot.git(world.taken.repo_id).ask("rev-parse", "-q", "--verify", attempt().ref).text()
    ) == ""


def test_history_that_fsck_would_refuse_still_travels_to_the_node(world: Depots, tmp_path: Path) -> None:
    old = simple(tmp_path / "old", 1)
    raw = old.git("cat-file", "commit", "HEAD").replace("+0000", "+051800").encode() + b"\n"
    commit = old.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=raw)
    old.git("reset", "-q", "--hard", commit)
    world.taken = snap(old, world.depot)
    tree = Workspaces(tmp_path / "node", world.client).prepare(attempt(), workspace_of(world.taken))
    assert (tree / "f1").read_text() == "1\n"


def test_a_killed_fetch_leaves_no_children(world: Depots, tmp_path: Path) -> None:
    peer = world.client._listener.open("fetch", attempt())
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
    until(lambda: any("upload-pack" in line for line in git_children()))
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    until(lambda: not git_children())
    world.ended(1)


def test_a_client_that_says_nothing_holds_nothing(world: Depots) -> None:
    silent = socket.socket(socket.AF_UNIX)
    silent.connect(str(world.socket))
    assert "nonce" in read_line(silent)
    (end,) = world.ended(1)
    assert end.grant is None
    silent.close()
    stuck = world.client._listener.open("fetch", attempt())
    until(lambda: bool(git_children()))
    stuck.close()
    until(lambda: not git_children())


def test_a_replayed_or_foreign_hello_is_refused(world: Depots) -> None:
    stale = DepotClient(DepotAccess(lambda: world.socket, lambda n, v, i: world.sign("0", v, i), 5.0))
    with pytest.raises(StepFailed, match="replayed"):
        stale.follow(attempt(), "out", Path(__file__))
    with pytest.raises(StepFailed, match="not granted"):
        world.client.follow(attempt("r-cccc"), "out", Path(__file__))
    with pytest.raises(LinkDown, match="not yet"):
        world.client.follow(attempt("r-wait"), "out", Path(__file__))


def test_no_link_and_no_server_mean_later(world: Depots, tmp_path: Path) -> None:
    for address in (None, tmp_path / "nothing.sock", ("127.0.0.1", 1)):
        away = DepotClient(DepotAccess(lambda a=address: a, world.sign, 2.0))  # type: ignore[misc]
        with pytest.raises(LinkDown):
            away.follow(attempt(), "out", Path(__file__))


def test_a_server_that_stops_in_the_middle_means_later(world: Depots, tmp_path: Path) -> None:
    peer = world.client._listener.open("log", attempt())
    world.server.stop()
    with pytest.raises(LinkDown):
        send_request(peer, op="size", name="out")
    peer.close()
    with pytest.raises(LinkDown):
        world.client.fetch(attempt(), tmp_path, "refs/pancode/snap/r-aaaa")
    assert not world.socket.exists()


def test_stop_ends_streams_that_are_open(world: Depots) -> None:
    peer = world.client._listener.open("fetch", attempt())
    until(lambda: bool(git_children()))
    world.server.stop()
    assert git_children() == set()
    peer.close()


def test_a_depot_that_hangs_means_later_and_leaves_no_git(world: Depots, tmp_path: Path) -> None:
    hung = socket.socket(socket.AF_UNIX)
    hung.bind(str(tmp_path / "hung.sock"))
    hung.listen()

    def greet() -> None:
        peer, _ = hung.accept()
        peer.sendall(b'{"nonce":"1"}\n')
        peer.recv(4096)
        peer.sendall(b'{"ok":true}\n')
        over.wait()
        peer.close()

    over = threading.Event()
    thread = threading.Thread(target=greet)
    thread.start()
    bare = tmp_path / "bare"
    make_bare(bare, "sha1")
    away = DepotClient(DepotAccess(lambda: tmp_path / "hung.sock", world.sign, 2.0), git_s=0.5)
    with pytest.raises(LinkDown, match="did not finish"):
        away.fetch(attempt(), bare, "refs/pancode/snap/r-aaaa")
    assert git_children() == set()
    over.set()
    thread.join()
    hung.close()


def test_over_loopback_tcp_where_unix_sockets_cannot_be_forwarded(world: Depots, tmp_path: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def relay() -> None:
        peer, _ = listener.accept()
        behind = socket.socket(socket.AF_UNIX)
        behind.connect(str(world.socket))
        back = threading.Thread(target=_pump, args=(behind, peer))
        back.start()
        _pump(peer, behind)
        back.join()
        peer.close()
        behind.close()

    thread = threading.Thread(target=relay)
    thread.start()
    client = DepotClient(DepotAccess(lambda: ("127.0.0.1", listener.getsockname()[1]), world.sign, 5.0))
    bare = tmp_path / "bare"
    make_bare(bare, "sha1")
    client.fetch(attempt(), bare, "refs/pancode/snap/r-aaaa")
    assert Repo(bare, init=False).git("rev-parse", "refs/pancode/snap/r-aaaa") == world.taken.snapshot_commit
    thread.join()
    listener.close()


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def test_a_moment_without_files_closes_no_door(world: Depots) -> None:
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as waiting:
        with few_files(0):
            first.connect(str(world.socket))  # who waits in accept has its file already
            waiting.connect(str(world.socket))
            waiting.settimeout(0.3)
            with pytest.raises(TimeoutError):
                waiting.recv(1)
        waiting.settimeout(40)
        assert b"nonce" in waiting.recv(100)
