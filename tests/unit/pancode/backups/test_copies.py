"""A copy of a real home in a place in memory, what goes wrong with it, and the home that is restored from
it."""

from __future__ import annotations

import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest

from node_agent.wire.signing import SigningKey
from pancode.app.schema import SCHEMA
from pancode.backups.contents import Contents, ContentsError
from pancode.backups.model import CHAIN, CopyHead, CopyIndex, CopyRecord, FoundCopy
from pancode.backups.records import CopyRecords
from pancode.backups.restore import FILES, CopyDamagedError, OpenedCopies, Restore, choose_copy, open_copies
from pancode.backups.sealing import HEADED, Recipient, RecoveryKey, Sealer
from pancode.backups.service import CopyNotVerifiedError, CopyRequest, copy_context, make_copy
from pancode.fleet.standing import read_held
from pancode.git.depot import Depot
from pancode.kernel.errors import (
    ConfigError,
    ConflictError,
    PancodeError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from pancode.kernel.host.files import FileEpochs
from pancode.kernel.records import Node, Setting
from pancode.kernel.unfinished_restore import MARK, RESTORING, refuse_unfinished_restore
from pancode.runs.restored.mode import FleetMode
from pancode.store.ledger import SqlLedger
from tests.fakes.node.clock import MemoryClock, SeededIds
from tests.unit.pancode.backups.memory import MemoryCopies, a_record

FLEET, REPO = "f-abcdef", "p-0123456789abcdef"
KEY_FILE = "key/coordinator.key"
COMMAND = "pancode admin restore --from box"
KEY = RecoveryKey(b"k" * 32)
RECIPIENT = KEY.recipient()
SIGNING = SigningKey(b"s" * 32)
TARGET: dict[str, object] = {"target": {"alias": "box", "host": "10.0.0.5"}}
LATER = 4_000_000_000_000
"""A time at which every file of the test is old, so that its stamp counts."""


class World:
    """A home with a ledger, a key, a repository and logs; a node; and the coordinator's record of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.place = folder, folder / "home", MemoryCopies()
        self.home.mkdir(mode=0o700)
        self.clock, self.ids = MemoryClock(wall=LATER), SeededIds(3)
        self.records = CopyRecords(self.home)
        self.ledger = SqlLedger(self.home / "ledger.db", SCHEMA)
        with self.ledger.transaction() as tx:
            tx.put(Setting("fleet", FLEET, 1, "t"))
            tx.put(Setting("epoch", 7, 1, "t"))
            tx.put(Node("gpubox", 1, TARGET, {}, 4))
        self.write("key/coordinator.key", SIGNING.text())
        self.write("key/backup.json", KEY.recipient().model_dump_json())
        self.write("secrets/forge", "token")
        self.write("logs/odd-\udcff é\n%2e%2e/x", "a name that is no UTF-8")
        self.write(".kept", "[]")
        self.write("logs/r-1/1.1/out", "x" * 3_000_000)
        self.write("epoch", "7")
        self.write("run/coordinator.log", "log")
        self.write("valkey/dump.rdb", "redis")
        (self.home / "pancode.yaml").symlink_to("/dotfiles/pancode.yaml")
        self.depot = Depot(self.home / "depots")
        self.depot.ensure(REPO)
        self.commit = self.add_commit("one")

    def write(self, path: str, text: str) -> None:
        whole = self.home / path
        whole.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        whole.write_text(text)
        whole.chmod(0o600)

    def add_commit(self, text: str, *parents: str) -> str:
        git = self.depot.git(REPO)
        blob = git.must("hash-object", "-w", "--stdin", stdin=text.encode()).text()
        tree = git.must("mktree", stdin=f"100644 blob {blob}\ta\n".encode()).text()
        env = {
            f"GIT_{who}_{what}": "t@localhost"
            for who in ("AUTHOR", "COMMITTER")
            for what in ("NAME", "EMAIL")
        }
        made = (
            git.having(**env).must("commit-tree", tree, "-m", text, *(f"-p{one}" for one in parents)).text()
        )
        git.must("update-ref", f"refs/pancode/snap/{text}", made)
        return str(made)

    def back_up(self, keep: int = 14, whole: bool = True, key: Recipient = RECIPIENT) -> CopyRecord:
        def read(before: CopyIndex, begun_ms: int) -> Contents:
            return Contents(self.home, self.records.folder, before, begun_ms)

        request = CopyRequest("gpubox", FLEET, SIGNING.public.tag, 0, key, keep, read, whole)
        made = make_copy(request, self.records, self.place, self.clock, self.ids)
        assert made == self.records.record("gpubox").newest
        return made

    def open(self, key: RecoveryKey = KEY, fleet: str = FLEET) -> OpenedCopies:
        return open_copies(self.place.look(), fleet, lambda kind: key.text(), COMMAND)

    def restore(self, home: Path, copy: str | None = None) -> str:
        """Restore, and return the copy's name."""
        opened = self.open()
        home.mkdir(mode=0o700, exist_ok=True)
        self.done = Restore(home, self.clock, COMMAND, "box").run(
            opened, choose_copy(opened, copy), self.place
        )
        return self.done["copy"]

    def refs(self, home: Path) -> str:
        return Depot(home / "depots").git(REPO).text("for-each-ref", "--format=%(objectname) %(refname)")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def _shape(home: Path) -> dict[str, tuple[int, bytes | str]]:
    found = dict[str, tuple[int, bytes | str]]()
    for folder, _, files in os.walk(home):
        for name in files:
            path = Path(folder, name)
            state = path.lstat()
            data = os.readlink(path) if path.is_symlink() else path.read_bytes()
            found[str(path.relative_to(home))] = (state.st_mode & 0o777, data)
    return found


def test_a_restored_home_has_all_but_what_is_made_anew(world: World) -> None:
    world.back_up()
    world.restore(world.folder / "new")
    done = world.done
    assert (done["fleet"], done["nodes"], done["active"]) == (FLEET, ["gpubox"], [])
    before, after = _shape(world.home), _shape(world.folder / "new")
    left_out = {
        "epoch",
        "run/coordinator.log",
        "valkey/dump.rdb",
        "ledger.db-wal",
        "ledger.db-shm",
        "ledger.db",
    }
    same = {name for name in before if not name.startswith(("depots", "backup/")) and name not in left_out}
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert not {"epoch", "run/coordinator.log", "valkey/dump.rdb"} & after.keys()
    assert world.refs(world.folder / "new") == world.refs(world.home)


def test_a_folder_that_is_a_link_to_another_disk_is_copied(world: World) -> None:
    for name in ("depots", "secrets"):
        shutil.move(world.home / name, world.folder / name)
        (world.home / name).symlink_to(world.folder / name)
    world.back_up()
    new = world.folder / "new"
    world.restore(new)
    assert (new / "secrets/forge").read_text() == "token" and not (new / "secrets").is_symlink()
    assert world.refs(new) == world.refs(world.home)


def test_the_copy_shows_nothing_of_the_home_to_the_node(world: World) -> None:
    world.back_up()
    there = b"".join(data for data in world.place.copies.values() if data)
    for text in (
        b"token",
        b"ed25519-seed",
        b"coordinator.key",
        SIGNING.text().encode(),
        b"SQLite format",
        b"gpubox",
    ):
        assert text not in there
    assert RECIPIENT.public.encode() not in there and RECIPIENT.mac.encode() not in there


def test_each_copy_of_a_chain_restores_the_home_of_its_time(world: World) -> None:
    """Files and commits come, change, and go; a file becomes a folder and a link a file."""
    noise, shapes, refs = SeededIds(9).token(1 << 20), list[dict[str, object]](), list[str]()
    world.write("logs/r-big/out", noise)
    made = list[CopyRecord]()
    for number in range(CHAIN + 2):
        world.write(f"logs/r-{number}/out", str(number))
        world.write("logs/changes", "x" * number)
        world.add_commit(f"c{number}", world.commit)
        if number == 2:
            (world.home / "pancode.yaml").unlink()
            world.write("pancode.yaml", "a: 1")
            world.write("skills/a", "file")
        if number == 3:
            shutil.rmtree(world.home / "logs/r-0")
            world.depot.git(REPO).must("update-ref", "-d", "refs/pancode/snap/c0")
            (world.home / "skills/a").unlink()
            world.write("skills/a/b", "folder")
            world.depot.ensure("p-fedcba9876543210")
        if number == 5:
            shutil.rmtree(world.home / "depots/p-fedcba9876543210.git")
        made.append(world.back_up())
        refs.append(world.refs(world.home))
        shapes.append(_contents(world.home))
    assert [one.part for one in made] == [1, 2, 3, 4, 5, 6, 7, 1, 2]
    assert [one.base for one in made[1:3]] == [made[0].name, made[1].name] and not made[7].base
    assert all(one.size < made[0].size / 5 for one in made[1:7]), "only what has changed"
    for number in (CHAIN - 1, CHAIN + 1):
        one = made[number]
        new = world.folder / f"new{number}"
        world.restore(new, one.name)
        assert _contents(new) == shapes[number] and world.refs(new) == refs[number]
        assert world.done["warnings"] == []


def _contents(home: Path) -> dict[str, object]:
    """Return all but what is made anew and what differs within git and the ledger."""
    left_out = ("epoch", "run/", "valkey/", "ledger.db", "backup/")
    shape = _shape(home)
    repositories = {path.name: (0, "") for path in (home / "depots").glob("*.git")}
    return {
        **{name: one for name, one in shape.items() if not name.startswith((*left_out, "depots"))},
        **repositories,
    }


def test_the_ledger_is_whole_while_it_is_written(world: World) -> None:
    with world.ledger.transaction() as tx:
        tx.put(Setting("written", 1, 1, "t"))
        tx_seen = world.back_up  # a copy from another thread waits for nothing that this one holds
    tx_seen()
    world.restore(world.folder / "new")
    with SqlLedger(world.folder / "new/ledger.db", SCHEMA).transaction() as tx:
        assert tx.get(Setting, "written")


@pytest.mark.parametrize("call", ["prepare", "digest", "put"])
def test_a_call_that_fails_leaves_all_earlier_copies(world: World, call: str) -> None:
    world.back_up(keep=1)
    before = dict(world.place.copies)
    world.place.fails_at = call
    with pytest.raises(UnavailableError):
        world.back_up(keep=1)
    assert world.place.copies == before and len(world.records.record("gpubox").copies) == 1
    world.place.fails_at = ""
    assert world.back_up(keep=1).sequence == 2
    assert sorted(one.name for one in (world.home / "backup").iterdir()) == [
        "node-gpubox.index",
        "node-gpubox.json",
    ]


def test_a_copy_that_fails_while_old_ones_are_removed_is_whole(world: World) -> None:
    for _ in range(CHAIN):
        world.back_up(keep=1)
    world.place.fails_at = "remove"
    with pytest.raises(UnavailableError):
        world.back_up(keep=1)
    newest = world.records.record("gpubox").newest
    assert newest is not None and (newest.sequence, newest.base) == (CHAIN + 1, "")
    world.place.fails_at = ""
    assert world.restore(world.folder / "new") == newest.name


def test_what_the_disk_damages_as_it_is_written_is_no_copy(world: World) -> None:
    world.place.rots = True
    with pytest.raises(CopyNotVerifiedError):
        world.back_up()
    assert world.place.copies == {} and world.records.record("gpubox").copies == ()
    world.place.rots = False
    assert world.back_up().verified_ms


@pytest.mark.parametrize("how", ["damaged", "missing", "not a regular file"])
def test_after_a_loss_in_the_place_the_next_copy_is_a_whole_one(world: World, how: str) -> None:
    first, second = world.back_up(), world.back_up()
    data = world.place.copies[first.name]
    assert data is not None
    if how == "missing":
        del world.place.copies[first.name]
    else:
        damaged = data[:-1] + bytes([data[-1] ^ 1])
        world.place.copies[first.name] = None if how == "not a regular file" else damaged
    third = world.back_up(whole=False)
    assert (third.base, third.part) == ("", 1)
    assert world.restore(world.folder / "new") == third.name
    with pytest.raises(PancodeError):
        world.restore(world.folder / "old", second.name)


def test_retention_keeps_whole_chains_and_never_a_copy_without_its_base(world: World) -> None:
    world.place.copies["c-99999999-zzzzzz"] = b"foreign"
    made = there = list[CopyRecord]()
    for _ in range(2 * CHAIN + 2):
        made.append(world.back_up(keep=1))
        there = [one for one in made if one.name in world.place.copies]
        names = {one.name for one in there}
        assert all(not one.base or one.base in names for one in there)
        assert len([one for one in there if not one.base]) == 1
    assert there == made[2 * CHAIN :]
    assert {one.name for one in world.records.record("gpubox").copies} == {one.name for one in there}
    assert "c-99999999-zzzzzz" in world.place.copies, "only what this coordinator recorded is removed"


def test_another_recovery_key_begins_a_whole_copy(world: World) -> None:
    world.back_up()
    assert world.back_up(key=RecoveryKey(b"o" * 32).recipient()).base == ""


# -- copies that are not what they should be ----------------------------------------------------------------


def _refusal(world: World, copy: str | None = None) -> CopyDamagedError:
    home = world.folder / "refused"
    with pytest.raises(CopyDamagedError) as caught:
        world.restore(home, copy)
    shutil.rmtree(home)
    return caught.value


def _change(world: World, name: str, change: Callable[[bytes], bytes]) -> None:
    data = world.place.copies[name]
    assert data is not None
    world.place.copies[name] = change(data)


SWAP = HEADED + 2 * (64 * 1024 + 16)
FRAME = 64 * 1024 + 16
DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "cut in its head": lambda data: data[:100],
    "cut": lambda data: data[:-10],
    "cut at the end of a frame": lambda data: data[: HEADED + FRAME],
    "a byte changed": lambda data: data[:-50] + bytes([data[-50] ^ 1]) + data[-49:],
    "a byte of the head changed": lambda data: data[:200] + bytes([data[200] ^ 1]) + data[201:],
    "two frames swapped": lambda data: (
        data[:HEADED] + data[HEADED + FRAME : SWAP] + data[HEADED : HEADED + FRAME] + data[SWAP:]
    ),
    "more behind it": lambda data: data + b"x",
    "the head of another copy": lambda data: data[:HEADED][::-1] + data[HEADED:],
}


def test_a_damaged_copy_names_those_that_are_whole(world: World) -> None:
    """No older one is restored without a word."""
    world.write("secrets/noise", SeededIds(1).token(200_000))
    world.records.keep(a_record("node2"))
    world.back_up()
    first, second = world.back_up(), world.back_up(key=RECIPIENT)
    world.write("secrets/noise", SeededIds(2).token(200_000))
    newest, home = world.back_up(), world.folder / "refused"
    data = world.place.copies[newest.name]
    for how, change in DAMAGES.items():
        assert data is not None
        world.place.copies[newest.name] = change(data)
        with pytest.raises(CopyDamagedError) as caught:
            world.restore(home)
        refused = caught.value
        assert newest.name in str(refused), how
        assert "c-00000001-x7k2pq on node2" in refused.why and first.name in refused.why
        assert refused.fix == f"restore another one: {COMMAND} --copy {second.name}"
        with pytest.raises(CopyDamagedError):
            world.restore(home, newest.name)
    assert world.restore(home, second.name) == second.name


def test_a_copy_whose_base_is_missing_names_those_that_are_whole(world: World) -> None:
    made = [world.back_up() for _ in range(3)]
    del world.place.copies[made[1].name]
    refused = _refusal(world)
    assert made[1].name in refused.why and f"--copy {made[0].name}" in refused.fix
    assert made[2].name in world.open().refused
    assert [one.name for one in world.open().whole] == [made[0].name]


def test_a_base_that_is_damaged_names_no_copy_that_needs_it(world: World) -> None:
    made = [world.back_up() for _ in range(4)]
    _change(world, made[1].name, lambda data: data[:-40] + bytes(8) + data[-32:])
    refused = _refusal(world)
    assert made[1].name in str(refused) and made[2].name not in refused.why
    assert refused.fix.endswith(f"--copy {made[0].name}")
    assert not (world.folder / "refused").exists()


def test_a_base_that_lacks_a_file_which_the_copy_only_names_is_an_error(world: World) -> None:
    world.back_up()
    world.write("secrets/new", "x")
    state = (world.home / "secrets/new").stat()
    stamp = f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns} 600"
    index = world.records.index("gpubox")
    wrong = replace(index, files={**index.files, "secrets/new": stamp})
    world.records.keep_index("gpubox", wrong)
    world.back_up()
    assert "secrets/new" in _refusal(world).why


def test_the_only_copy_is_damaged_and_the_key_is_not_blamed(world: World) -> None:
    made = world.back_up()
    for change in (DAMAGES["cut"], DAMAGES["empty"]):
        _change(world, made.name, change)
        with pytest.raises(CopyDamagedError) as caught:
            world.restore(world.folder / "new")
        assert made.name in caught.value.words and "key" not in caught.value.words


def test_what_is_no_plain_file_is_refused_and_never_opened(world: World) -> None:
    first, second = world.back_up(), world.back_up()
    world.place.copies[second.name] = None
    refused = _refusal(world)
    assert (
        "not a regular file" in refused.why and first.name in refused.fix and "get" not in world.place.calls
    )


def test_a_copy_under_another_name_or_of_another_fleet_is_refused(world: World) -> None:
    made = world.back_up()
    world.place.copies["c-00000009-zzzzzz"] = world.place.copies[made.name]
    assert "c-00000009-zzzzzz" in str(_refusal(world))
    other = [FoundCopy("f-other1", one.name, one.size, one.head) for one in world.place.look()]
    opened = open_copies(other, "f-other1", lambda kind: KEY.text(), COMMAND)
    assert opened.heads == () and made.name in opened.refused
    with pytest.raises(CopyDamagedError):
        choose_copy(opened, None)


def test_who_knows_the_public_key_alone_cannot_forge_a_copy(world: World, tmp_path: Path) -> None:
    made, name = world.back_up(), "c-00000009-zzzzzz"
    forged = RECIPIENT.model_copy(update={"mac": RecoveryKey(b"o" * 32).recipient().mac})
    with (tmp_path / "forged").open("w+b") as file:
        sealer = Sealer(forged, copy_context(FLEET, name), file)
        sealer.write(b"x")
        head = CopyHead.model_validate({one: getattr(made, one) for one in CopyHead.model_fields})
        changes = {"name": name, "sequence": 9}
        sealer.end(lambda size: head.model_copy(update={**changes, "size": size}).model_dump_json().encode())
        file.seek(0)
        data = file.read()
    world.place.copies[name] = data
    assert name in world.open().refused
    tagged = world.place.copies[made.name]
    assert tagged is not None
    world.place.copies[name] = data[:33] + tagged[33:49] + data[49:]
    assert name in world.open().refused, "the tag of the key alone proves nothing"


def test_a_copy_of_0_1_0_is_refused_with_the_version_that_restores_it(world: World) -> None:
    with pytest.raises(RefusedError) as caught:
        open_copies([FoundCopy(FLEET, "c-00000001-aaaaaa", 9, is_old=True)], FLEET, lambda kind: "", COMMAND)
    assert caught.value.code == "copy_of_0_1_0" and "pancode==0.1.0" in caught.value.fix
    assert COMMAND in caught.value.fix


def test_a_wrong_key_opens_nothing_and_says_so(world: World) -> None:
    world.back_up()
    with pytest.raises(RefusedError, match="opens no copy"):
        world.open(RecoveryKey(b"o" * 32))


def test_each_key_that_a_copy_was_made_with_opens_it(world: World) -> None:
    texts, salts = ("the first passphrase", "the second passphrase"), (b"1" * 16, b"2" * 16)
    keys = [RecoveryKey.of_passphrase(text, salt, 14) for text, salt in zip(texts, salts, strict=True)]
    made = [world.back_up(key=key.recipient(salt, 14)) for key, salt in zip(keys, salts, strict=True)]
    for number, text in enumerate(texts):
        opened = open_copies(world.place.look(), FLEET, {"passphrase": text}.__getitem__, COMMAND)
        assert [one.name for one in opened.heads] == [made[number].name]
        assert choose_copy(opened, None).name == made[number].name, "one of another key is no damage"
    made.append(world.back_up())
    assert [one.name for one in world.open().heads] == [made[2].name]
    with pytest.raises(UsageError):
        open_copies(world.place.look(), FLEET, lambda kind: texts[0], COMMAND)


# -- the restored home ---------------------------------------------------------------------------------------


def test_the_restored_home_is_held_and_says_from_when_it_is(world: World) -> None:
    world.back_up()
    taken_ms = world.clock.wall_ms()
    name = world.restore(world.folder / "new")
    file = FileEpochs(world.folder / "new/epoch").last()
    with SqlLedger(world.folder / "new/ledger.db", SCHEMA).transaction() as tx:
        held = read_held(tx, file)
    assert held is not None and (held.mode, held.restored["taken_ms"]) == (FleetMode.HELD, taken_ms)
    record = CopyRecords(world.folder / "new").record("gpubox")
    assert record.newest is not None and record.newest.name == name


def test_copies_continue_after_a_restore(world: World) -> None:
    made = [world.back_up() for _ in range(4)]
    _change(world, made[3].name, DAMAGES["cut"])
    world.restore(world.folder / "new", made[1].name)
    world.home, world.records = world.folder / "new", CopyRecords(world.folder / "new")
    record = world.records.record("gpubox")
    assert [bool(one.verified_ms) for one in record.copies] == [True, True, False, False]
    assert [one.is_damaged for one in record.copies] == [False, False, False, True]
    later = world.back_up(keep=1)
    assert (later.base, later.sequence) == ("", 5)
    assert list(world.place.copies) == [later.name]


def test_a_home_with_files_is_not_touched(world: World) -> None:
    world.back_up()
    home = world.folder / "new"
    home.mkdir()
    (home / "precious").write_text("mine")
    with pytest.raises(ConflictError, match="not empty"):
        world.restore(home)
    assert _shape(home).keys() == {"precious"}


def test_an_empty_mount_point_is_filled(world: World) -> None:
    world.back_up()
    home = world.folder / "new"
    (home / "lost+found").mkdir(parents=True)
    world.restore(home)
    assert (home / "ledger.db").exists() and not (home / RESTORING).exists()


def _steps(world: World, patch: pytest.MonkeyPatch, step: Callable[[], None]) -> None:
    """Have `step` called before each copy is read, and before and after each entry is moved."""
    read, move = world.place.get, os.rename

    def reads(found: FoundCopy, target: Path) -> None:
        step()
        read(found, target)

    def moves(old: Path, new: Path) -> None:
        step()
        move(old, new)
        step()

    patch.setattr(world.place, "get", reads)
    patch.setattr(os, "rename", moves)


def test_from_its_first_byte_to_its_last_a_restore_leaves_the_mark(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So a kill at any of these steps leaves it, too."""
    world.back_up()
    home, steps = world.folder / "new", 0

    def step() -> None:
        nonlocal steps
        steps += 1
        with pytest.raises(ConfigError, match="has not ended") as caught:
            refuse_unfinished_restore(home)
        assert caught.value.fix.startswith(f"continue it: {COMMAND}; or give it up")

    with monkeypatch.context() as patch:
        _steps(world, patch, step)
        world.restore(home)
    refuse_unfinished_restore(home)
    assert steps > 10 and not (home / RESTORING).exists()


@pytest.mark.parametrize("left", [0, 1, 4, 9])
def test_an_interrupted_restore_is_continued(
    world: World, left: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is interrupted while it reads, or after some entries were moved."""
    world.back_up()
    home, steps = world.folder / "new", 0

    def step() -> None:
        nonlocal steps
        steps += 1
        if steps > left:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        _steps(world, patch, step)
        world.restore(home)
    with pytest.raises(ConfigError, match="has not ended"):
        refuse_unfinished_restore(home)
    assert not (home / "ledger.db").exists()
    assert (home / RESTORING / FILES).exists() is (left > 0), "a part has secrets"
    world.restore(home)
    assert (home / "key/coordinator.key").exists()
    assert not (home / RESTORING).exists()


def test_a_restore_whose_copy_is_damaged_leaves_the_mark_alone(world: World) -> None:
    made = world.back_up()
    data, home = world.place.copies[made.name], world.folder / "new"
    _change(world, made.name, DAMAGES["a byte changed"])
    with pytest.raises(CopyDamagedError):
        world.restore(home)
    assert [one.name for one in home.rglob("*")] == [RESTORING, MARK]
    world.place.copies[made.name] = data
    world.restore(home)
    assert (home / "ledger.db").exists() and not (home / RESTORING).exists()


def test_a_copy_of_another_fleets_ledger_is_refused(world: World) -> None:
    with world.ledger.transaction() as tx:
        tx.put(Setting("fleet", "f-other1", 1, "t"))
    world.back_up()
    with pytest.raises(ContentsError, match="another fleet"):
        world.restore(world.folder / "new")


def test_an_incomplete_repository_is_named_and_the_rest_restored(world: World) -> None:
    lost = world.home / f"depots/{REPO}.git/objects"
    path = lost / world.commit[:2] / world.commit[2:]
    path.unlink()
    world.back_up()
    world.restore(world.folder / "new")
    (warning,) = world.done["warnings"]
    assert f"the repository {REPO} of the copy is incomplete" in warning and "--copy" in warning
    assert (world.folder / "new/secrets/forge").read_text() == "token"


def test_a_repository_with_cut_history_is_restored(world: World) -> None:
    git = world.depot.git(REPO)
    git.must("update-ref", "refs/heads/main", world.commit)
    path, parent = world.home / f"depots/{REPO}.git", world.commit
    child = world.add_commit("two", parent)
    (path / "shallow").write_text(f"{child}\n")
    for ref in ("refs/pancode/snap/one", "refs/heads/main"):
        git.must("update-ref", "-d", ref)
    (path / "objects" / parent[:2] / parent[2:]).unlink()
    world.back_up()
    world.restore(world.folder / "new")
    assert world.done["warnings"] == []
    restored = Depot(world.folder / "new/depots").git(REPO)
    assert restored.text("rev-list", "--all") == child


def test_a_copy_has_all_keys_or_fails(world: World) -> None:
    """Whenever they are removed while the home is read."""

    def read(step: int, output: BytesIO) -> int:
        (world.home / "key").mkdir(exist_ok=True)
        world.write(KEY_FILE, SIGNING.text())
        world.write("key/former.key", SIGNING.text())
        steps = 0

        def check() -> None:
            nonlocal steps
            steps += 1
            if steps == step:
                shutil.rmtree(world.home / "key")

        Contents(world.home, world.records.folder, CopyIndex(), LATER, check).write(output)
        return steps

    last = read(0, BytesIO())
    failed = 0
    for step in range(1, last + 1):
        output = BytesIO()
        try:
            read(step, output)
        except UnavailableError as error:
            failed += 1
            assert error.code == "backup_unreadable"
        else:
            with tarfile.open(fileobj=BytesIO(output.getvalue())) as tar:
                assert {KEY_FILE, "key/former.key"} <= {*tar.getnames()}, step
    assert 0 < failed < last


def test_an_unreadable_folder_is_an_error(world: World) -> None:
    if os.getuid() == 0:
        world.home.joinpath("loop").mkdir()
        shutil.rmtree(world.home / "depots" / f"{REPO}.git/objects")
        with pytest.raises(PancodeError):
            world.back_up()
        return
    world.write("logs/r-9/1.1/out", "x")
    (world.home / "logs/r-9").chmod(0)
    with pytest.raises(UnavailableError, match="cannot be read"):
        world.back_up()
