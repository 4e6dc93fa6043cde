"""When copies are made: on request, at night, after landings; and what is told of one that fails."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pancode.app.schema import SCHEMA
from pancode.backups.hooks import Backups
from pancode.backups.records import CopyRecords
from pancode.backups.rules import LANDINGS_MS, RETRY_MS
from pancode.backups.sealing import RecoveryKey
from pancode.config.schema import BackupSettings
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.kernel.declared import to_json
from pancode.kernel.errors import ConflictError
from pancode.kernel.records import EventKind, Node
from pancode.kernel.row_updates import edit_row
from pancode.kernel.values import replace
from pancode.runs.life.changes import Happened
from pancode.runs.unit_of_work import unit_of_work
from pancode.store.ledger import SqlLedger
from tests.unit.pancode.backups.memory import make_backups
from tests.unit.pancode.interfaces.http.world import World

KEY = RecoveryKey(b"k" * 32).recipient()
BODY = {"by": "ana", "to": ["box"], "key": KEY.model_dump()}
DAY = 86_400_000


class Copying:
    """A coordinator with nodes `box` and `desk`, of which the second is its own machine."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.world = World(folder / "home")
        self.core, self.home = self.world.context.core, folder / "home"
        (self.home / "key").mkdir(parents=True, exist_ok=True)
        (self.home / "key/coordinator.key").write_text("the coordinator's key")
        SqlLedger(self.home / "ledger.db", SCHEMA).close()
        with unit_of_work(self.core) as work:
            work.tx.put(Node("box", 1, to_json(reach_to(Target("box", "10.0.0.5", 22, "u"))), {}, 4))
            here = reach_to(Target("desk", "127.0.0.1", 0, ""), local=True)
            work.tx.put(Node("desk", 1, to_json(here), {}, 4))
        self.part, self.place = make_backups(self.core, self.home, BackupSettings(**settings))
        self.world.coordinator.by_kind[Backups] = self.part
        self.thread = self.part
        self.http = self.world.http

    def turn(self, ms: int = 60_000) -> int:
        """One pass of the thread, after this time; return how many copies it made."""
        before = len(self.place.copies)
        self.world.context.clock.advance(ms)
        self.thread.run_pass()
        return len(self.place.copies) - before

    def lands(self, status: str = "landed") -> None:
        with unit_of_work(self.core) as work:
            work.happened(Happened(EventKind.RUN_LANDING, "r-1", None, {"status": status}))


@pytest.fixture
def copying(tmp_path: Path) -> Copying:
    return Copying(tmp_path, to=("box",), keep=50)


def test_a_requested_copy_is_made_and_its_outcome_told(copying: Copying) -> None:
    begun = copying.http.post("/v1/backups", BODY)
    assert begun.status_code == 202, begun.text
    number = begun.json()["number"]
    assert begun.json()["to"] == ["box"] and number > copying.http.get("/v1/backups").json()["since"]
    assert copying.turn() == 1
    told = copying.http.get("/v1/backups").json()
    (outcome,) = told["outcomes"]
    assert outcome["number"] == number
    assert outcome["ok"] and outcome["copy"] == told["nodes"][0]["copies"][0]["name"]
    assert told["key"] == "key" and told["nodes"][0]["copies"][0]["verified_at"]
    again = copying.http.post("/v1/backups", {"by": "ana"})
    assert again.json() == {"number": number + 1, "to": ["box"]}, "the nodes of the setting"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"to": ["box"]}, 400, "no_recovery_key"),
        ({"to": ["desk"], "key": KEY.model_dump()}, 400, "backup_here"),
        ({"folder": "/no/such/folder", "key": KEY.model_dump()}, 503, "no_folder"),
        ({"folder": "relative", "key": KEY.model_dump()}, 400, "folder"),
        ({"to": ["nowhere"], "key": KEY.model_dump()}, 404, "node_not_found"),
        ({"to": ["box"], "key": {**KEY.model_dump(), "public": "A" * 44}}, 400, "key"),
        ({"to": ["box"], "key": {**KEY.model_dump(), "mac": ""}}, 400, "key"),
    ],
)
def test_a_request_that_cannot_be_carried_out_begins_nothing(
    copying: Copying, body: dict[str, Any], status: int, code: str
) -> None:
    refused = copying.http.post("/v1/backups", {"by": "ana", **body})
    assert refused.status_code == status, refused.text
    assert code in refused.text
    assert copying.turn() == 0 and copying.part.records.recipient() is None


def test_a_copy_in_a_folder_of_this_machine(tmp_path: Path) -> None:
    copying = Copying(tmp_path)
    disk = tmp_path / "disk"
    disk.mkdir()
    inside = copying.http.post("/v1/backups", {"by": "ana", "folder": str(copying.home / "logs")})
    assert "backup_here" in inside.text
    begun = copying.http.post("/v1/backups", {"by": "ana", "folder": str(disk), "key": KEY.model_dump()})
    assert begun.json()["to"] == [str(disk)] and copying.turn() == 1
    (node,) = copying.http.get("/v1/backups").json()["nodes"]
    assert (node["node"], node["here"]) == (str(disk), True) and node["copies"][0]["verified_at"]
    copying.http.post("/v1/backups", {"by": "ana", "folder": str(disk)})
    disk.rmdir()
    copying.turn()
    (trouble,) = copying.part.troubles
    assert "not found" in trouble["why"] and "mounted" in trouble["fix"]


def test_the_settings_and_records_of_0_1_0_are_used(tmp_path: Path) -> None:
    """The next copy is a whole one, and its number is above those that are there."""
    copying = Copying(tmp_path, to=("box",))
    copying.part.records.keep_recipient(KEY)
    copy = {"name": "c-00000041-aaaaaa", "seat": 0, "sequence": 41, "taken_ms": 1, "key": "k"}
    old = {"node": "box", "public": "", "objects": {}, "chunks": {}, "copies": [copy], "tried_ms": 0}
    copying.part.records.folder.mkdir()
    (copying.part.records.folder / "node-box.json").write_text(json.dumps(old))
    assert copying.http.get("/v1/backups").json()["nodes"][0]["copies"] == []
    assert copying.turn() == 1
    (made,) = copying.http.get("/v1/backups").json()["nodes"][0]["copies"]
    assert made["name"].startswith("c-00000042-") and made["base"] is None


def test_without_a_setting_a_node_must_be_named(tmp_path: Path) -> None:
    refused = Copying(tmp_path).http.post("/v1/backups", {"by": "ana", "key": KEY.model_dump()})
    assert "no_backup_node" in refused.text


def test_a_second_recovery_key_is_refused(copying: Copying) -> None:
    copying.http.post("/v1/backups", BODY)
    other = {**BODY, "key": RecoveryKey(b"o" * 32).recipient().model_dump()}
    assert "recovery_key_exists" in copying.http.post("/v1/backups", other).text
    assert copying.part.records.recipient() == KEY


def test_a_failed_copy_is_told_until_the_next_one_succeeds(copying: Copying) -> None:
    copying.place.fails_at = "put"
    copying.http.post("/v1/backups", BODY)
    assert copying.turn() == 0
    told = copying.http.get("/v1/backups").json()
    assert not told["outcomes"][0]["ok"] and "lost" in told["outcomes"][0]["why"]
    (trouble,) = copying.part.troubles
    assert trouble["what"] == "the copy on box failed"
    copying.place.fails_at = ""
    copying.http.post("/v1/backups", {"by": "ana"})
    with unit_of_work(copying.core) as work:
        edit_row(work.tx, Node, "box", change=lambda node: replace(node, removed="removed"))
    assert not copying.part.troubles and not copying.http.get("/v1/backups").json()["nodes"]
    with unit_of_work(copying.core) as work:
        edit_row(work.tx, Node, "box", change=lambda node: replace(node, removed=None))
    assert copying.turn() == 1 and not copying.part.troubles


def test_an_automatic_copy_on_this_machine_is_refused(tmp_path: Path) -> None:
    copying = Copying(tmp_path, to=("desk", "gone"))
    copying.part.records.keep_recipient(KEY)
    assert [copying.turn() for _ in range(2)] == [0, 0] and copying.place.calls == []
    (trouble,) = copying.part.troubles
    assert trouble["why"].startswith("desk is this machine")


def test_one_copy_each_night(copying: Copying) -> None:
    assert copying.turn() == 0, "nothing is made before there is a recovery key"
    copying.part.records.keep_recipient(KEY)
    assert [copying.turn() for _ in range(3)] == [1, 0, 0]
    assert copying.turn(DAY) == 1


def test_a_failed_night_is_tried_again_after_an_hour(copying: Copying) -> None:
    copying.part.records.keep_recipient(KEY)
    copying.place.fails_at = "put"
    copying.turn()
    calls = len(copying.place.calls)
    copying.turn()
    assert len(copying.place.calls) == calls
    copying.place.fails_at = ""
    assert copying.turn(3_600_000) == 1


def test_a_copy_after_each_landing(tmp_path: Path) -> None:
    copying = Copying(tmp_path, to=("box",), nightly=False)
    copying.part.records.keep_recipient(KEY)
    copying.lands("waiting")
    assert copying.turn() == 0
    copying.lands()
    assert [copying.turn() for _ in range(2)] == [1, 0]
    copying.lands()
    assert copying.turn() == 0, "at most one each ten minutes"
    copying.place.fails_at = "put"
    calls = len(copying.place.calls)
    copying.turn(LANDINGS_MS)
    assert len(copying.place.calls) > calls
    copying.place.fails_at, calls = "", len(copying.place.calls)
    copying.lands()
    assert copying.turn(LANDINGS_MS) == 0 and len(copying.place.calls) == calls
    assert copying.turn(RETRY_MS) == 1


def test_neither_night_nor_landing_where_they_are_off(tmp_path: Path) -> None:
    copying = Copying(tmp_path, to=("box",), nightly=False, after_landing=False)
    copying.part.records.keep_recipient(KEY)
    copying.lands()
    assert copying.turn(DAY) == 0


def test_a_damaged_record_is_told_and_does_not_end_the_thread(copying: Copying) -> None:
    copying.http.post("/v1/backups", BODY)
    copying.turn()
    (path,) = copying.part.records.folder.glob("node-*.json")
    path.write_text("{")
    copying.http.post("/v1/backups", {"by": "ana"})
    assert copying.turn() == 0
    outcome = copying.http.get("/v1/backups").json()["outcomes"][-1]
    assert "is damaged" in outcome["why"] and outcome["fix"].startswith("rm ")


def test_a_damaged_record_of_one_place_prevents_no_copy_in_another(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    copying = Copying(tmp_path, to=("box", str(disk)))
    copying.part.records.keep_recipient(KEY)
    copying.part.records.folder.mkdir()
    (copying.part.records.folder / "node-box.json").write_text("{")
    assert copying.turn() == 1
    assert [one["node"] for one in copying.http.get("/v1/backups").json()["nodes"]] == [str(disk)]


def test_a_fault_of_ours_is_an_outcome_too(copying: Copying) -> None:
    (copying.home / "depots/not-a-repository.git").mkdir(parents=True)
    copying.http.post("/v1/backups", BODY)
    assert copying.turn() == 0
    assert not copying.http.get("/v1/backups").json()["outcomes"][0]["ok"]


def test_a_stop_ends_a_copy_and_is_no_trouble(copying: Copying) -> None:
    copying.http.post("/v1/backups", BODY)
    copying.place.stops = copying.thread
    copying.turn()
    assert copying.place.copies == {} and not copying.part.troubles


def test_two_recovery_keys_made_at_once_leave_the_first(tmp_path: Path) -> None:
    records = CopyRecords(tmp_path)
    records.keep_recipient(KEY)
    with pytest.raises(ConflictError, match="already has a recovery key"):
        records.keep_recipient(RecoveryKey(b"o" * 32).recipient())
    assert records.recipient() == KEY
    assert [one.name for one in (tmp_path / "key").iterdir()] == ["backup.json"]
