"""Copies over a real SSH connection: the scripts, what a hostile node answers, and a stop in the middle."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.signing import SigningKey
from pancode.backups.model import FOLDER, StoppedError
from pancode.backups.remote_copies import RemoteCopies, find_fleets
from pancode.fleet.seat import CLAIM_FILE, Seat, SeatKeeper, sign_claim, take_seat
from pancode.fleet.ssh.connection import Session, open_session
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.loopback.server import LoopbackNode, LoopbackServer
from pancode.fleet.ssh.remote import Remote
from pancode.kernel.errors import NotFoundError, PancodeError, UnavailableError
from tests.fakes.ledger import MemoryLedger
from tests.integration.ssh.world import KEYS, TIMING

FLEET = "f-abcdef"
SIGNING = SigningKey(b"s" * 32)


class Node:
    """A node's SSH server on this machine, and the folder of copies behind it."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "h"
        self.home.mkdir()
        self.loop = LoopThread("test")
        self.server = LoopbackServer(LoopbackNode("desk", "me", self.home, KEYS))
        self.loop.call(self.server.start())
        self.session: Session = self.loop.call(self._dial())
        self.stopping = threading.Event()
        self.ledger = MemoryLedger()
        self.copies = self.seen_by(Seat())

    async def _dial(self) -> Session:
        pins = {self.server.target.endpoint: self.server.host_key}
        return await open_session(self.server.target, pins, self.server.login, TIMING)

    def begin(self, work: Any) -> Future[Any]:
        return self.loop.begin(work(Remote(self.session)))

    def seen_by(self, seat: Seat) -> RemoteCopies:
        """The folder, as the coordinator with this seat uses it."""
        ledger = MemoryLedger()
        if seat.number:
            with ledger.transaction() as tx:
                take_seat(tx, seat, 1, "t")
        keeper = SeatKeeper(ledger, FLEET, lambda: SIGNING, lambda: 1, lambda words: None)
        return RemoteCopies(self.begin, FLEET, keeper, self.stopping)

    @property
    def folder(self) -> Path:
        return self.home / FOLDER / FLEET

    def end(self) -> None:
        self.loop.call(self.session.close(), 10)
        self.loop.call(self.server.stop(), 10)
        self.loop.stop()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    made = Node(tmp_path)
    yield made
    made.end()


def name_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_what_is_put_is_listed_verified_read_and_removed(node: Node) -> None:
    copies = node.copies
    copies.prepare()
    assert copies.list_objects() == {} and copies.digest_objects([]) == {}
    data = [bytes([number]) * 100_000 for number in range(70)]
    for one in data:
        copies.put_object(name_of(one), one)
    copies.put_recipient(b"how")
    names = [name_of(one) for one in data]
    listed = copies.list_objects()
    assert sorted(listed) == sorted(names) and all(one.startswith("100000 ") for one in listed.values())
    assert copies.digest_objects(names) == {name: name for name in names}
    assert copies.put_copy("c-00000001-abcdef", b"sealed") == name_of(b"sealed")
    assert copies.read_copy("c-00000001-abcdef") == b"sealed" and copies.read_recipients() == [b"how"]
    for how in (b"other", b"how"):
        time.sleep(0.02)
        copies.put_recipient(how)
    assert copies.read_recipients() == [b"how", b"other"]
    assert copies.read_object(names[0]) == data[0]
    assert list(copies.list_copies()) == ["c-00000001-abcdef"]
    assert find_fleets(node.begin) == [FLEET]
    copies.remove(["c-00000001-abcdef"], names[:69])
    assert list(copies.list_objects()) == names[69:] and copies.list_copies() == []
    with pytest.raises(NotFoundError):
        copies.read_object(names[0])
    assert (node.folder.stat().st_mode & 0o777, (node.folder / "objects").stat().st_mode & 0o777) == (
        0o700,
        0o700,
    )


def test_unfinished_files_are_removed_and_foreign_names_are_not_listed(node: Node) -> None:
    node.copies.prepare()
    for name in (
        "objects/a.part",
        "copies/c-1.part",
        "recovery.json.part",
        "objects/with blank",
        "copies/other",
    ):
        (node.folder / name).write_text("x")
    node.copies.prepare()
    assert not list(node.folder.rglob("*.part"))
    assert node.copies.list_objects() == {} and node.copies.list_copies() == []
    assert (node.folder / "objects/with blank").exists()


def test_a_damaged_object_has_another_digest_and_another_time(node: Node) -> None:
    node.copies.prepare()
    node.copies.put_object(name_of(b"data"), b"data")
    before = node.copies.list_objects()
    (node.folder / "objects" / name_of(b"data")).write_bytes(b"atad")
    assert node.copies.list_objects() != before
    assert node.copies.digest_objects([name_of(b"data")]) == {name_of(b"data"): name_of(b"atad")}
    with pytest.raises(PancodeError):
        node.copies.digest_objects([name_of(b"gone")])


@pytest.mark.parametrize("program", ["find", "sha256sum", "xargs"])
@pytest.mark.parametrize("does", ["exit 1", "exit 0", "kill -9 $$", "echo nonsense; exit 1"])
def test_a_program_of_the_node_that_fails_is_an_error(
    node: Node, program: str, does: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list that was cut never looks like an empty one, and nothing is removed after it."""
    node.copies.prepare()
    node.copies.put_object(name_of(b"data"), b"data")
    bad = node.home / "bin"
    bad.mkdir()
    for name in (
        "sh",
        "cat",
        "stat",
        "sync",
        "rm",
        "timeout",
        "printf",
        "kill",
        "mkdir",
        *(("find", "sha256sum", "xargs")),
    ):
        if name != program:
            for place in ("/usr/bin", "/bin"):
                if Path(place, name).exists() and not (bad / name).exists():
                    (bad / name).symlink_to(Path(place, name))
    (bad / program).write_text(f"#!/bin/sh\n{does}\n")
    (bad / program).chmod(0o755)
    node.server.use({"PATH": str(bad), "HOME": str(node.home)})
    if program == "find" and does == "exit 0":
        assert node.copies.list_objects() == {}, "an empty folder; the record then sends the objects again"
        return
    with pytest.raises(PancodeError):
        node.copies.list_objects()
        node.copies.digest_objects([name_of(b"data")])
    if program == "xargs" and does != "exit 0":
        with pytest.raises(PancodeError):
            node.copies.remove([], [name_of(b"data")])
    assert (node.folder / "objects" / name_of(b"data")).exists()


def test_a_stop_ends_a_wait_within_a_second(node: Node) -> None:
    async def waits(remote: Remote) -> None:
        await remote.run(("sleep", "60"), 60)

    threading.Timer(0.3, node.stopping.set).start()
    began = time.monotonic()
    with pytest.raises(StoppedError):
        node.copies.do(waits, 60)
    assert time.monotonic() - began < 5


def test_an_earlier_coordinator_neither_copies_nor_removes(node: Node) -> None:
    first, second = node.seen_by(Seat()), node.seen_by(Seat(100, "a"))
    first.prepare()
    first.put_object(name_of(b"data"), b"data")
    assert not (node.folder / CLAIM_FILE).exists()
    second.prepare()
    assert (node.folder / CLAIM_FILE).exists()
    for act in (first.prepare, lambda: first.remove([], [name_of(b"data")])):
        with pytest.raises(ConnectError, match="has replaced") as caught:
            act()
        assert caught.value.fault is LinkFault.FENCED
    assert name_of(b"data") in second.list_objects()
    third = node.seen_by(Seat(200, "b"))
    third.prepare()
    assert (node.folder / CLAIM_FILE).read_bytes() == sign_claim(Seat(200, "b"), FLEET, SIGNING)


def test_a_forged_claim_is_reported_and_fences_nobody_off(node: Node) -> None:
    node.copies.prepare()
    (node.folder / CLAIM_FILE).write_bytes(sign_claim(Seat(100, "a"), FLEET, SigningKey(b"x" * 32)))
    node.copies.prepare()
    with pytest.raises(ConnectError, match="unknown coordinator") as caught:
        node.seen_by(Seat(50, "b")).prepare()
    assert caught.value.fault is LinkFault.FOREIGN_CLAIM and caught.value.permanent


def test_a_host_without_copies_has_none(node: Node) -> None:
    assert find_fleets(node.begin) == []
    with pytest.raises(UnavailableError):
        node.copies.locate()
    assert not (node.home / FOLDER).exists()


def test_a_folder_that_is_a_link_to_another_disk_is_used(node: Node, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (node.home / FOLDER).symlink_to(tmp_path / "disk")
    node.copies.prepare()
    node.copies.put_object(name_of(b"data"), b"data")
    assert (tmp_path / "disk" / FLEET / "objects" / name_of(b"data")).exists()
    assert find_fleets(node.begin) == [FLEET]
