"""Places of copies over SSH and on this machine: the scripts, what a hostile node answers, a stop in the
middle."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest

from node_agent.wire.signing import SigningKey
from pancode.backups.model import FOLDER, FoundCopy, StoppedError
from pancode.backups.places import FolderCopies, RemoteCopies
from pancode.backups.sealing import HEADED
from pancode.fleet.seat import CLAIM_FILE, Seat, SeatKeeper, sign_claim, take_seat
from pancode.fleet.ssh.connection import Session, open_session
from pancode.fleet.ssh.errors import ConnectError, LinkFault
from pancode.fleet.ssh.loop import LoopThread
from pancode.fleet.ssh.loopback.server import LoopbackNode, LoopbackServer
from pancode.fleet.ssh.remote import Remote
from pancode.kernel.errors import PancodeError, UnavailableError
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

    def put(self, name: str, data: bytes, copies: RemoteCopies | FolderCopies | None = None) -> None:
        """Store a copy through the place, as the coordinator does."""
        draft = self.home / "draft"
        draft.write_bytes(data)
        (copies or self.copies).put(name, draft)

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


def digest_of(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


NAMES = [f"c-{number:08d}-abcdef" for number in range(1, 8)]
ONE, TWO, *_ = NAMES


@pytest.fixture(params=["node", "folder"])
def place(
    node: Node, tmp_path: Path, request: pytest.FixtureRequest
) -> tuple[RemoteCopies | FolderCopies, Path]:
    """A place of copies, and its folder."""
    if request.param == "node":
        return node.copies, node.folder
    (tmp_path / "disk").mkdir()
    return FolderCopies(str(tmp_path / "disk"), FLEET), tmp_path / "disk" / FLEET


Place = tuple[RemoteCopies | FolderCopies, Path]


def test_what_is_put_is_verified_seen_read_and_removed(node: Node, place: Place, tmp_path: Path) -> None:
    copies, folder = place
    copies.prepare()
    assert copies.digest([]) == {} and list(copies.look()) == []
    data = {name: bytes([number]) * (3_000_000 * number) for number, name in enumerate(NAMES)}
    for name, one in data.items():
        node.put(name, one, copies)
    assert copies.digest(NAMES) == {name: digest_of(one) for name, one in data.items()}
    seen = sorted(copies.look(), key=lambda one: one.name)
    assert seen == [FoundCopy(FLEET, name, len(one), one[:HEADED]) for name, one in data.items()]
    copies.get(seen[3], tmp_path / "read")
    assert (tmp_path / "read").read_bytes() == data[NAMES[3]]
    copies.remove(NAMES[1:])
    assert [one.name for one in copies.look()] == [ONE]
    with pytest.raises(PancodeError):
        copies.get(seen[3], tmp_path / "again")
    assert (folder.stat().st_mode & 0o777, (folder / ONE).stat().st_mode & 0o777) == (0o700, 0o600)


def test_what_is_no_plain_file_is_told_and_not_opened(node: Node, place: Place, tmp_path: Path) -> None:
    copies, folder = place
    copies.prepare()
    os.mkfifo(folder / NAMES[0])
    (folder / NAMES[1]).symlink_to("/dev/zero")
    (folder / NAMES[2]).symlink_to("/etc/passwd")
    (folder / NAMES[3]).symlink_to("/nowhere")
    (folder / NAMES[4]).mkdir()
    node.put(NAMES[5], b"data", copies)
    began = time.monotonic()
    assert {one.name: one.size for one in copies.look()} == {**dict.fromkeys(NAMES[:5]), NAMES[5]: 4}
    assert copies.digest(NAMES) == {NAMES[5]: digest_of(b"data")}
    (folder / NAMES[2]).unlink()
    (folder / NAMES[2]).symlink_to(NAMES[5])
    for name in NAMES[:3]:
        with pytest.raises(PancodeError):
            copies.get(FoundCopy(FLEET, name, 4), tmp_path / name)
    assert time.monotonic() - began < 20


def test_unfinished_files_are_removed_and_foreign_names_are_not_seen(node: Node, place: Place) -> None:
    copies, folder = place
    copies.prepare()
    for name in (f"{ONE}.part", "with blank", "other", "c-1"):
        (folder / name).write_text("x")
    copies.prepare()
    assert not list(folder.glob("*.part")) and list(copies.look()) == []
    assert (folder / "with blank").exists()


def test_a_copy_of_0_1_0_is_seen_as_such(node: Node) -> None:
    node.copies.prepare()
    (node.folder / "copies").mkdir()
    (node.folder / "copies" / ONE).write_text("x")
    assert [(one.name, one.is_old) for one in node.copies.look()] == [(ONE, True)]


def test_a_damaged_copy_has_another_digest_and_a_missing_one_has_none(node: Node) -> None:
    node.copies.prepare()
    node.put(ONE, b"data")
    (node.folder / ONE).write_bytes(b"atad")
    assert node.copies.digest([ONE, TWO]) == {ONE: digest_of(b"atad")}


@pytest.mark.parametrize("program", ["base64", "sha256sum", "xargs"])
@pytest.mark.parametrize("does", ["exit 1", "kill -9 $$", "kill -9 $PPID"])
def test_a_program_of_the_node_that_fails_never_makes_a_copy_look_good(
    node: Node, program: str, does: str
) -> None:
    """A list that was cut is an error, and nothing is removed after it."""
    node.copies.prepare()
    node.put(ONE, b"data")
    bad = node.home / "bin"
    bad.mkdir()
    for name in "sh cat head wc tr sync rm timeout printf kill mkdir base64 sha256sum xargs".split():
        for folder in ("/usr/bin", "/bin"):
            if name != program and Path(folder, name).exists() and not (bad / name).exists():
                (bad / name).symlink_to(Path(folder, name))
    (bad / program).write_text(f"#!/bin/sh\n{does}\n")
    (bad / program).chmod(0o755)
    node.server.use({"PATH": str(bad), "HOME": str(node.home)})
    acts = {
        "base64": lambda: [one for one in node.copies.look() if one.head],
        "sha256sum": lambda: node.copies.digest([ONE]),
        "xargs": lambda: node.copies.remove([ONE]),
    }
    if program == "base64":
        assert acts[program]() == []
        return
    with pytest.raises(PancodeError):
        acts[program]()
    assert (node.folder / ONE).exists()


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
    node.put(ONE, b"data", first)
    assert not (node.folder / CLAIM_FILE).exists()
    second.prepare()
    assert (node.folder / CLAIM_FILE).exists()
    for act in (first.prepare, lambda: first.remove([ONE])):
        with pytest.raises(ConnectError, match="has replaced") as caught:
            act()
        assert caught.value.fault is LinkFault.FENCED
    assert ONE in second.digest([ONE])
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


def test_a_host_without_copies_has_none_and_gets_no_folder(node: Node, tmp_path: Path) -> None:
    assert list(node.copies.look()) == [] == list(FolderCopies(str(tmp_path / "gone"), "").look())
    assert not (node.home / FOLDER).exists()


def test_a_folder_of_this_machine_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError):
        FolderCopies(str(tmp_path / "gone"), FLEET).prepare()
    assert not (tmp_path / "gone").exists()


def test_a_folder_that_is_a_link_to_another_disk_is_used(node: Node, tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (node.home / FOLDER).symlink_to(tmp_path / "disk")
    node.copies.prepare()
    node.put(ONE, b"data")
    assert (tmp_path / "disk" / FLEET / ONE).exists()
    assert [one.fleet for one in node.copies.look()] == [FLEET]
