"""What is sent again, what is removed, when a copy is due, and which manifests are refused."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from pancode.backups import rules
from pancode.backups.model import ChunkPlace, CopiedFile, CopyRecord, Manifest, NodeRecord, StoredObject

A, B, C = "a" * 64, "b" * 64, "c" * 64
DIGEST = "d" * 64


def copy(number: int, *objects: str, seat: int = 0, taken_ms: int = 0, verified_ms: int = 1) -> CopyRecord:
    return CopyRecord(
        name=rules.make_name(number, "x7k2pq"),
        seat=seat,
        sequence=number,
        taken_ms=taken_ms,
        verified_ms=verified_ms,
        size=1,
        sent=1,
        files=1,
        objects=objects,
    )


def record(*copies: CopyRecord, objects: tuple[str, ...] = (A, B, C), stamp: str = "1 t") -> NodeRecord:
    stored = {name: StoredObject(size=1, plain=10, stamp=stamp) for name in objects}
    chunks = {name: ChunkPlace(object=name, offset=0, size=10) for name in objects}
    return NodeRecord(node="n", objects=stored, chunks=chunks, copies=copies)


def test_the_newest_copies_stay_and_what_they_need() -> None:
    found = rules.select_prunable(record(copy(1, A), copy(2, A, B), copy(3, B, C)), 2)
    assert found.copies == (rules.make_name(1, "x7k2pq"),)
    assert found.objects == ()
    found = rules.select_prunable(found.left, 1)
    assert found.copies == (rules.make_name(2, "x7k2pq"),) and found.objects == (A,)
    assert set(found.left.objects) == set(found.left.chunks) == {B, C}
    assert rules.select_prunable(record(copy(1, A)), 0).copies == (), "the last one stays, whatever is set"


def test_a_clock_that_is_set_back_does_not_make_a_copy_old() -> None:
    old, new = copy(1, A, taken_ms=2_000_000), copy(2, B, taken_ms=1_000)
    assert rules.select_prunable(record(new, old), 1).copies == (old.name,)
    after_restore = copy(1, C, seat=7, taken_ms=1)
    assert rules.select_prunable(record(old, new, after_restore), 1).left.copies == (after_restore,)


def test_what_was_sent_for_a_copy_that_failed_is_removed_with_the_next_one() -> None:
    assert rules.select_prunable(record(copy(1, A)), 3).objects == (B, C)


def test_only_what_changed_since_its_check_is_checked_again() -> None:
    one = record(copy(1, A, B, C))
    listed = {A: "1 t", B: "1 later", "f" * 64: "foreign"}
    assert rules.select_unchecked(one, listed, whole=False) == [B]
    assert rules.select_unchecked(one, listed, whole=True) == [A, B]
    assert rules.find_damaged(one, listed, {A: A, B: DIGEST}) == [B, C], "C is gone"
    left = rules.drop_objects(one, [B, C])
    assert set(left.objects) == set(left.chunks) == {A}


def test_an_object_that_is_hardly_needed_is_sent_anew() -> None:
    one = record(copy(1, A, B))
    chunks = {A: ChunkPlace(object=A, offset=0, size=1), B: ChunkPlace(object=B, offset=0, size=9)}
    assert set(rules.drop_sparse(one.model_copy(update={"chunks": chunks})).chunks) == {B}


def test_another_recovery_key_uses_no_earlier_chunk() -> None:
    one = rules.for_recipient(record(copy(1, A)), "new")
    assert (one.chunks, one.public) == ({}, "new") and A in one.objects
    assert rules.for_recipient(one, "new") is one


NOON = int(datetime(2026, 11, 29, 12, tzinfo=UTC).timestamp() * 1000)
H = 3_600_000


@pytest.mark.parametrize(
    ("copied", "tried", "due"),
    [
        (0, 0, True),
        (NOON - 8 * H, 0, False),
        (NOON - 10 * H, 0, True),
        (NOON - 10 * H, NOON - H // 2, False),
        (NOON - 10 * H, NOON - 2 * H, True),
        (NOON - 10 * H, NOON + 9 * H, True),
    ],
)
def test_a_nightly_copy_is_due(copied: int, tried: int, due: bool) -> None:
    assert rules.is_night_due(NOON, UTC, copied, tried) is due


def test_before_three_the_night_is_that_of_the_day_before() -> None:
    assert not rules.is_night_due(NOON - 10 * H, UTC, NOON - 30 * H, 0)
    assert rules.is_night_due(NOON - 10 * H, UTC, NOON - 34 * H, 0)


def test_what_a_copy_leaves_out() -> None:
    gone = [
        ("", "epoch"),
        ("", "run"),
        ("", "valkey"),
        ("", "ledger.db-wal"),
        ("depots/p.git/objects", "tmp_obj_1"),
    ]
    assert not any(rules.is_copied(*one) for one in gone)
    stays = [("", "key"), ("key", "coordinator.key"), ("checkouts/m/n", "uv.lock"), ("skills/a", "run")]
    assert all(rules.is_copied(*one) for one in stays)


@pytest.mark.parametrize("path", ["a b/ü.txt", "odd-\udcff", "%2e%2e", "new\nline"])
def test_a_path_comes_back(path: str) -> None:
    assert rules.decode_path(rules.encode_path(path)) == path and rules.encode_path(path).isascii()


def manifest(*files: CopiedFile, **more: object) -> Manifest:
    plain: dict[str, object] = {
        **{
            "fleet": "f-1",
            "name": "c-00000001-x7k2pq",
            "seat": 0,
            "sequence": 1,
            "taken_ms": 1,
            "pancode": "1",
        },
        **{"files": files, "chunks": {DIGEST: ChunkPlace(object=A, offset=0, size=4)}, "objects": {A: 4}},
    }
    return Manifest.model_validate({**plain, **more})


FILE = CopiedFile(path="a", kind="file", size=4, chunks=(DIGEST,))


def test_a_whole_manifest_is_accepted() -> None:
    folder = CopiedFile(path="d", kind="folder")
    whole = manifest(folder, CopiedFile(path="d/a", kind="file", size=4, chunks=(DIGEST,)))
    assert rules.check_manifest(whole, "f-1", whole.name) is whole


@pytest.mark.parametrize(
    "wrong",
    [
        manifest(FILE, fleet="f-2"),
        manifest(FILE, name="c-00000002-x7k2pq"),
        manifest(FILE, FILE),
        manifest(CopiedFile(path="a", kind="file", size=5, chunks=(DIGEST,))),
        manifest(CopiedFile(path="a", kind="file", size=4, chunks=(C,))),
        manifest(FILE, objects={A: 3}),
        manifest(FILE, objects={A: 1 << 40}),
        manifest(FILE, chunks={DIGEST: ChunkPlace(object=B, offset=0, size=4)}),
        *(
            manifest(CopiedFile(path=path, kind="folder"))
            for path in ("/etc", "..", "a/../../b", ".", "a//b", "a%00b", "%2e%2e", "absent/a")
        ),
        manifest(CopiedFile(path="l", kind="link", link="/etc"), CopiedFile(path="l/a", kind="folder")),
    ],
)
def test_a_manifest_that_contradicts_itself_is_refused(wrong: Manifest) -> None:
    with pytest.raises(rules.ManifestError):
        rules.check_manifest(wrong, "f-1", "c-00000001-x7k2pq")


def test_the_next_number_is_above_all_own_copies() -> None:
    assert rules.next_sequence([]) == 1
    assert rules.next_sequence([record(copy(3)), record(copy(9), copy(2))]) == 10
