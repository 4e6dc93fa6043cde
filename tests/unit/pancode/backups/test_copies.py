"""A copy of a real home on a node in memory, what goes wrong with it, and the home that is restored from
it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from node_agent.wire.signing import SigningKey
from pancode.backups.model import NodeRecord
from pancode.backups.records import CopyRecords
from pancode.backups.restore import FILES, OpenedCopies, Restore, Restored, choose_copy, open_copies
from pancode.backups.rules import ManifestError
from pancode.backups.sealing import Recipient, RecoveryKey, SealError, authenticate, open_sealed, seal
from pancode.backups.service import CopyNotVerifiedError, CopyRequest, make_copy, manifest_context
from pancode.backups.snapshot import HomeSnapshot
from pancode.fleet.standing import Mode, read_held
from pancode.git.depot import Depot
from pancode.kernel.errors import (
    ConfigError,
    ConflictError,
    NotFoundError,
    PancodeError,
    RefusedError,
    UnavailableError,
    UsageError,
)
from pancode.kernel.host.files import FileEpochs
from pancode.kernel.records import Node, Setting
from pancode.kernel.unfinished_restore import MARK, RESTORING, refuse_unfinished_restore
from pancode.store.ledger import SqlLedger
from tests.fakes.node.clock import MemoryClock, SeededIds
from tests.unit.pancode.backups.memory import MemoryCopies

FLEET, REPO = "f-abcdef", "p-0123456789abcdef"
COMMAND = "pancode admin restore --from box"
KEY = RecoveryKey(b"k" * 32)
RECIPIENT = KEY.recipient()
SIGNING = SigningKey(b"s" * 32)
TARGET: dict[str, object] = {"target": {"alias": "box", "host": "10.0.0.5"}}


class World:
    """A home with a ledger, a key, a repository and logs; a node; and the coordinator's record of it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.place = folder, folder / "home", MemoryCopies()
        self.home.mkdir(mode=0o700)
        self.clock, self.ids = MemoryClock(), SeededIds(3)
        self.records = CopyRecords(self.home)
        self.ledger = SqlLedger(self.home / "ledger.db")
        with self.ledger.transaction() as tx:
            tx.put(Setting("fleet", FLEET, 1, "t"))
            tx.put(Setting("epoch", 7, 1, "t"))
            tx.put(Node("gpubox", 1, TARGET, {}, 4))
        self.write("key/coordinator.key", SIGNING.text())
        self.write("key/backup.json", KEY.recipient().model_dump_json())
        self.write("secrets/forge", "token")
        self.write("logs/r-1/1.1/out", "x" * 3_000_000)
        self.write("epoch", "7")
        self.write("run/coordinator.log", "log")
        self.write("valkey/dump.rdb", "redis")
        (self.home / "pancode.yaml").symlink_to("/dotfiles/pancode.yaml")
        self.depot = Depot(self.home / "depots")
        self.depot.ensure(REPO)
        self.commit = self.add_commit("one")
        self.number = 0

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

    def back_up(self, keep: int = 14, whole: bool = True, key: Recipient = RECIPIENT) -> NodeRecord:
        self.number += 1
        request = CopyRequest(FLEET, SIGNING.public.tag, 0, self.number, key, keep, whole)
        snapshot = HomeSnapshot(self.home, self.records.folder)
        record = self.records.record("gpubox")
        made = make_copy(request, snapshot.read, self.place, record, self.records.keep, self.clock, self.ids)
        assert made == self.records.record("gpubox")
        return made

    def open(self, key: RecoveryKey = KEY) -> OpenedCopies:
        return open_copies(self.place, FLEET, lambda kind: key.text())

    def restore(self, home: Path, copy: str | None = None) -> Restored:
        opened = self.open()
        home.mkdir(mode=0o700, exist_ok=True)
        chosen = choose_copy(opened, copy)
        return Restore(home, self.clock, COMMAND).run(opened, chosen, self.place, "box")


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
    done = world.restore(world.folder / "new")
    assert (done.fleet, done.nodes, done.active) == (FLEET, ("gpubox",), ())
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
    assert (
        Depot(world.folder / "new/depots")
        .git(REPO)
        .ask("rev-parse", "-q", "--verify", "refs/pancode/snap/one")
        .text()
    ) == world.commit


def test_a_folder_that_is_a_link_to_another_disk_is_copied(world: World) -> None:
    for name in ("depots", "secrets"):
        shutil.move(world.home / name, world.folder / name)
        (world.home / name).symlink_to(world.folder / name)
    world.back_up()
    new = world.folder / "new"
    world.restore(new)
    assert (new / "secrets/forge").read_text() == "token" and not (new / "secrets").is_symlink()
    assert (
        Depot(new / "depots").git(REPO).ask("rev-parse", "-q", "--verify", "refs/pancode/snap/one").text()
    ) == world.commit


def test_the_copy_shows_nothing_of_the_home_to_the_node(world: World) -> None:
    world.back_up()
    there = b"".join([*world.place.objects.values(), *world.place.copies.values(), *world.place.recipients])
    for text in (b"token", b"ed25519-seed", b"coordinator.key", SIGNING.text().encode(), b"SQLite format"):
        assert text not in there


def test_a_later_copy_sends_what_changed_and_both_can_be_restored(world: World) -> None:
    first = world.back_up().copies[-1]
    world.write("logs/r-2/1.1/out", "new")
    world.add_commit("two")
    record = world.back_up()
    second = record.copies[-1]
    assert second.sent < first.sent / 2 and second.again == 0
    world.restore(world.folder / "old", first.name)
    world.restore(world.folder / "new")
    assert (world.folder / "new/logs/r-2/1.1/out").read_text() == "new"
    assert not (world.folder / "old/logs/r-2").exists()
    assert (
        Depot(world.folder / "new/depots")
        .git(REPO)
        .ask("rev-parse", "-q", "--verify", "refs/pancode/snap/two")
        .text()
    )


def test_the_ledger_is_whole_while_it_is_written(world: World) -> None:
    with world.ledger.transaction() as tx:
        tx.put(Setting("written", 1, 1, "t"))
        tx_seen = world.back_up  # a copy from another thread waits for nothing that this one holds
    tx_seen()
    world.restore(world.folder / "new")
    with SqlLedger(world.folder / "new/ledger.db").transaction() as tx:
        assert tx.get(Setting, "written")


@pytest.mark.parametrize("call", ["prepare", "list", "digest", "recipient", "put", "copy"])
def test_a_call_that_fails_leaves_all_earlier_copies(world: World, call: str) -> None:
    world.back_up(keep=1)
    before = dict(world.place.objects), dict(world.place.copies)
    world.write("logs/r-2/1.1/out", "new" * 1_000)
    world.place.fails_at = call
    with pytest.raises(UnavailableError):
        world.back_up(keep=1)
    assert world.place.copies == before[1]
    assert world.place.objects.items() >= before[0].items()
    assert len(world.records.record("gpubox").copies) == 1
    world.place.fails_at = ""
    assert len(world.back_up(keep=1).copies) == 1
    assert not world.home.joinpath("backup/ledger.part").exists()


def test_a_copy_that_fails_while_old_ones_are_removed_is_whole(world: World) -> None:
    world.back_up()
    world.write("logs/r-2/1.1/out", "new")
    world.place.fails_at = "remove"
    with pytest.raises(UnavailableError):
        world.back_up(keep=1)
    newest = world.records.record("gpubox").newest
    assert newest is not None and newest.sequence == 2
    world.place.fails_at = ""
    assert world.restore(world.folder / "new").copy_name == newest.name


def test_what_an_interrupted_copy_has_sent_is_used_by_the_next(world: World) -> None:
    for number in range(6):
        world.write(f"logs/r-{number}/1.1/out", SeededIds(number).token(1 << 20))
    world.place.ends_after = 2
    with pytest.raises(UnavailableError):
        world.back_up()
    assert world.place.copies == {} and len(world.place.objects) == 2
    world.place.ends_after = 1 << 30
    record = world.back_up()
    assert set(world.place.objects) == set(record.objects)
    assert record.copies[-1].sent < record.copies[-1].size


def test_an_object_that_the_disk_damages_as_it_is_written_is_no_copy(world: World) -> None:
    world.place.rots = {1}
    with pytest.raises(CopyNotVerifiedError):
        world.back_up()
    assert world.place.copies == {} and world.records.record("gpubox").copies == ()
    world.place.rots = set()
    assert world.back_up().copies[-1].verified_ms


@pytest.mark.parametrize("how", ["damaged", "missing"])
def test_what_a_node_has_lost_is_sent_again_and_told(world: World, how: str) -> None:
    world.back_up()
    name = min(world.place.objects)
    if how == "damaged":
        world.place.damage(name)
    else:
        del world.place.objects[name]
    record = world.back_up(whole=False)
    assert record.copies[-1].again == 1 and name not in record.copies[-1].objects
    world.restore(world.folder / "new")
    with pytest.raises((SealError, NotFoundError)):
        world.restore(world.folder / "old", record.copies[0].name)


def test_unchanged_objects_are_digested_only_where_all_are_asked(world: World) -> None:
    world.back_up()
    world.place.digested.clear()
    world.back_up(whole=False)
    quick = len(world.place.digested)
    world.place.digested.clear()
    world.back_up(whole=True)
    assert quick < len(world.place.digested)


def test_old_copies_are_removed_and_foreign_files_stay(world: World) -> None:
    world.place.objects["f" * 64] = b"foreign"
    world.place.stamps["f" * 64] = 1
    world.place.copies["c-99999999-zzzzzz"] = b"foreign"
    for number in range(4):
        world.write("logs/r-1/1.1/out", str(number) * 3_000_000)
        world.back_up(keep=2)
    record = world.records.record("gpubox")
    assert [one.sequence for one in record.copies] == [3, 4]
    assert set(world.place.copies) == {"c-99999999-zzzzzz", *(one.name for one in record.copies)}
    needed = {name for one in record.copies for name in one.objects}
    assert set(world.place.objects) == {"f" * 64, *needed}
    assert "c-99999999-zzzzzz" in world.open().refused


def test_a_forged_manifest_is_not_the_newest(world: World) -> None:
    world.back_up()
    ((name, sealed),) = world.place.copies.items()
    world.place.copies["c-00000009-zzzzzz"] = sealed
    text = open_sealed(KEY, manifest_context(FLEET, name), sealed, 1 << 24).partition(b"\n")[2]
    other = RecoveryKey(b"o" * 32).recipient()
    for number, make in ((10, lambda whole: authenticate(other, whole)), (11, lambda whole: "")):
        forged = f"c-000000{number}-zzzzzz"
        whole = text.replace(name.encode(), forged.encode())
        plain = f"{make(whole)}\n".encode() + whole
        world.place.copies[forged] = seal(KEY.recipient().public, manifest_context(FLEET, forged), plain)
    opened = world.open()
    assert [one.name for one in opened.copies] == [name] and len(opened.refused) == 3
    with pytest.raises(NotFoundError, match="no usable copy"):
        choose_copy(opened, "c-00000010-zzzzzz")


def test_a_wrong_key_opens_nothing_and_says_so(world: World) -> None:
    world.back_up()
    with pytest.raises(RefusedError, match="opens no copy"):
        world.open(RecoveryKey(b"o" * 32))


def test_each_key_that_a_copy_was_made_with_opens_it(world: World) -> None:
    texts, salts = ("the first passphrase", "the second passphrase"), (b"1" * 16, b"2" * 16)
    keys = [RecoveryKey.of_passphrase(text, salt, 14) for text, salt in zip(texts, salts, strict=True)]
    for key, salt in zip(keys, salts, strict=True):
        world.back_up(key=key.recipient(salt, 14))
    world.back_up()
    names = sorted(world.place.copies)
    for number, text in enumerate((*texts, KEY.text())):
        opened = open_copies(world.place, FLEET, {"key": text}.__getitem__)
        assert [one.name for one in opened.copies] == [names[number]]
    world.place.recipients.clear()
    assert [one.name for one in world.open().copies] == [names[2]], "a recovery key needs no description"
    with pytest.raises(UsageError):
        open_copies(world.place, FLEET, lambda kind: texts[0])


def test_the_restored_home_is_held_and_says_from_when_it_is(world: World) -> None:
    world.back_up()
    taken_ms = world.clock.wall_ms()
    done = world.restore(world.folder / "new")
    file = FileEpochs(world.folder / "new/epoch").last()
    with SqlLedger(world.folder / "new/ledger.db").transaction() as tx:
        held = read_held(tx, file)
    assert held is not None and (held.mode, held.restored["taken_ms"]) == (Mode.HELD, taken_ms)
    record = CopyRecords(world.folder / "new").record("gpubox")
    assert record.newest is not None and record.newest.name == done.copy_name


def test_copies_continue_after_a_restore(world: World) -> None:
    world.back_up()
    world.restore(world.folder / "new")
    world.home, world.records = world.folder / "new", CopyRecords(world.folder / "new")
    record = world.back_up(keep=1)
    assert record.copies[-1].sent < record.copies[-1].size / 2
    assert list(world.place.copies) == [record.copies[-1].name]


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
    """Have `step` called before each object is read, and before and after each entry is moved."""
    read, move = world.place.read_object, os.rename

    def reads(name: str) -> bytes:
        step()
        return read(name)

    def moves(old: Path, new: Path) -> None:
        step()
        move(old, new)
        step()

    patch.setattr(world.place, "read_object", reads)
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
    done = world.restore(home)
    assert done.fleet == FLEET and (home / "key/coordinator.key").exists()
    assert not (home / RESTORING).exists()


def test_a_restore_whose_copy_is_damaged_leaves_the_mark_alone(world: World) -> None:
    world.back_up()
    stolen = min(world.place.objects)
    data = world.place.objects.pop(stolen)
    home = world.folder / "new"
    with pytest.raises(PancodeError):
        world.restore(home)
    assert [one.name for one in home.rglob("*")] == [RESTORING, MARK]
    world.place.objects[stolen] = data
    world.restore(home)
    assert (home / "ledger.db").exists() and not (home / RESTORING).exists()


def test_a_copy_of_another_fleets_ledger_is_refused(world: World) -> None:
    with world.ledger.transaction() as tx:
        tx.put(Setting("fleet", "f-other1", 1, "t"))
    world.back_up()
    with pytest.raises(ManifestError, match="another fleet"):
        world.restore(world.folder / "new")


def test_an_incomplete_repository_is_named_and_the_rest_restored(world: World) -> None:
    lost = world.home / f"depots/{REPO}.git/objects"
    path = lost / world.commit[:2] / world.commit[2:]
    path.unlink()
    world.back_up()
    done = world.restore(world.folder / "new")
    (warning,) = done.warnings
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
    assert world.restore(world.folder / "new").warnings == ()
    restored = Depot(world.folder / "new/depots").git(REPO)
    assert restored.text("rev-list", "--all") == child


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
