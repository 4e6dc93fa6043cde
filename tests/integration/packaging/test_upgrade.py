"""What earlier versions left on disk is opened by this one, whole; what was released is not written again."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from node_agent.journal.storage import JournalFiles
from node_agent.wire.node import HOME_LAYOUT
from pancode.app.schema import SCHEMA
from pancode.config.load import ConfigPlaces, load
from pancode.config.records import ConfigChange, ConfigProposal
from pancode.kernel.errors import ConfigError
from pancode.kernel.records import Setting
from pancode.skills.records import StoredTool
from pancode.store.inspection import look_at
from pancode.store.ledger import SqlLedger
from pancode.store.migration import Revisions
from pancode.store.migrations import HEAD
from pancode.store.migrations.script import SHIPPED
from tests.crowd import crowded, until
from tests.e2e.kept import lay_out_bundles
from tests.e2e.owner import PATH
from tests.fixtures.capture import NEXT, QUESTIONS, SETTINGS, revisions
from tests.fixtures.restore import Kept, kept

AGAIN = "python -m tests.fixtures.capture next"


def names(state: Kept) -> str:
    return state.name


@pytest.fixture
def root() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="pu-"))  # short: a fleet's sockets are in it
    yield root
    shutil.rmtree(root, ignore_errors=True)


def test_the_state_to_come_is_kept_as_it_is_now() -> None:
    about = Kept(NEXT).about
    now = (HEAD, HOME_LAYOUT, revisions())
    assert (about["head"], about["layout"], about["revisions"]) == now, f"capture it anew: {AGAIN}"


def rewritten(released: dict[str, str], now: dict[str, str]) -> list[str]:
    """Migrations of a release that are gone or are not what they were."""
    return sorted(name for name, digest in released.items() if now.get(name) != digest)


def test_a_migration_that_was_released_is_never_written_again() -> None:
    for state in kept():
        if state.name != NEXT:
            assert rewritten(state.about["revisions"], revisions()) == [], "write a further revision instead"


def test_that_rule_sees_what_it_is_for() -> None:
    now = revisions()
    first = next(iter(now))
    assert rewritten(now, {**now, "0099_more.py": "0" * 64}) == []
    assert rewritten(now, {**now, first: "0" * 64}) == [first]
    assert rewritten(now, {}) == sorted(now)


@pytest.mark.parametrize("state", kept(), ids=names)
def test_every_row_of_the_ledger_is_read(state: Kept, root: Path) -> None:
    path = root / "ledger.db"
    state.write_ledger(path, root)
    before = moved(path)
    assert before["runs"] >= 4 and before["nodes"] == 2 and before["attempts"] >= 4
    ledger = SqlLedger(path, SCHEMA)
    try:
        with ledger.transaction() as tx:
            read = {kind.TABLE.name: len(list(tx.find(kind))) for kind in SCHEMA.tables}
    finally:
        ledger.close()
    seen = look_at(path)
    assert (seen.revision, seen.runs, seen.wrong) == (HEAD, before["runs"], "")
    assert {name: read[name] for name in before if name in read} == {
        n: c for n, c in before.items() if n in read
    }
    older = state.about["head"] != HEAD
    assert Path(f"{path}.{state.about['head']}-before-{HEAD}").exists() == older


FURTHER = f"""
from __future__ import annotations
import sqlalchemy as sa
from alembic import op
revision = "0099"
down_revision = "{HEAD}"
def upgrade() -> None:
    op.add_column("runs", sa.Column("mood", sa.Text(), nullable=False, server_default="calm"))
"""


@pytest.mark.parametrize("state", kept(), ids=names)
def test_a_further_migration_loses_no_row(state: Kept, root: Path) -> None:
    """From whatever was kept through every revision to one that is not written yet."""
    (root / "versions").mkdir()
    (root / "versions/0099_further.py").write_text(FURTHER)
    path = root / "ledger.db"
    state.write_ledger(path, root)
    as_it_was, before = counted(path), moved(path)
    SqlLedger(path, SCHEMA, history=Revisions("0099", (*SHIPPED, root / "versions"))).close()
    after = counted(path)
    assert {name: after[name] for name in before} == before
    with closing(sqlite3.connect(path)) as ledger:
        assert ledger.execute("SELECT mood, count(*) FROM runs GROUP BY mood").fetchall() == [
            ("calm", before["runs"])
        ]
    assert counted(Path(f"{path}.{state.about['head']}-before-0099")) == as_it_was


GONE = ("webhooks",)
"""The tables that this version no longer has."""
GONE_KEYS = {
    "verification": {"waits", "run", "node", "receipt", "earlier"},
    "workflows": {"board", "receipt"},
    "schedules": {"trouble"},
}
"""By the last part of a place: the keys that answers no longer have."""
NOW_IN = {
    "workspace:": "workspaces",
    "issue:": "issue_works",
    "kept-tool:": "made_tools",
    "proposed-tool:": "made_tools",
    "proposed-files:": "made_tool_files",
}
"""How the names of settings begin that have become a row of a table."""
LISTS = ("config_proposals", "config_changes")
"""The settings that have become a row for each of their items."""


def moved(path: Path) -> dict[str, int]:
    """The number of rows of each table, with those of settings where the migrations put them."""
    there = {name: count for name, count in counted(path).items() if name not in GONE}
    with closing(sqlite3.connect(path)) as ledger:
        settings = dict(ledger.execute("SELECT name, value FROM settings").fetchall())
    for name, value in settings.items():
        table = next((table for begin, table in NOW_IN.items() if name.startswith(begin)), None)
        if table is not None or name in LISTS:
            place = table or name
            there["settings"] -= 1
            there[place] = there.get(place, 0) + (1 if table else len(json.loads(value)))
    return there


def counted(path: Path) -> dict[str, int]:
    with closing(sqlite3.connect(path)) as ledger:
        tables = [name for (name,) in ledger.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {name: ledger.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables}


def test_proposed_and_past_changes_and_kept_tools_become_rows(root: Path) -> None:
    """What the kept fleet lacks, in the words of the version that wrote it."""
    path = root / "ledger.db"
    Kept("8f79f20c").write_ledger(path, root)
    change = {"kind": "setting", "target": "dispatch.safety", "value": None}
    proposal = {"id": "c-1", "change": change, "old": "a", "new": "b", "notes": ["n"], "why": "w", "by": "p"}
    tool = {"project": "/p", "name": "t", "run": "r-1", "digest": "d", "packed": "x", "at_ms": 7, "by": "ana"}
    rows = {
        "config_proposals": [{**proposal, "run": None, "at_ms": 7}],
        "config_changes": [{"back": change, "after": None}, {"back": {**change, "value": "v"}, "after": "z"}],
        "kept-tool:0123456789abcdef/t": tool,
    }
    with closing(sqlite3.connect(path)) as old, old:
        for name, value in rows.items():
            old.execute("INSERT OR REPLACE INTO settings VALUES (?, ?, 1, 'ana')", (name, json.dumps(value)))
    ledger = SqlLedger(path, SCHEMA)
    with ledger.transaction() as tx:
        assert [(one.id, one.target, one.notes, one.run) for one in tx.find(ConfigProposal)] == [
            ("c-1", "dispatch.safety", ["n"], None)
        ]
        assert [(one.number, one.value, one.after) for one in tx.find(ConfigChange)] == [
            (1, None, None),
            (2, "v", "z"),
        ]
        assert [(one.place, one.packed, one.signed) for one in tx.find(StoredTool, {"kept": True})] == [
            ("/p", "x", "")
        ]
        assert not any(tx.get(Setting, name) for name in rows)
    ledger.close()


@pytest.mark.parametrize("state", kept(), ids=names)
def test_every_setting_that_there_was_is_understood(state: Kept, tmp_path: Path) -> None:
    shutil.copy(state.folder / SETTINGS, tmp_path / "pancode.yaml")
    assert load(ConfigPlaces(tmp_path, None, tmp_path / "none"), {}).warnings == ()


class Person:
    """Somebody who has installed the newer version over the older one's state."""

    def __init__(self, root: Path, coordinator: Path) -> None:
        (root / "own").mkdir()
        self.env = {"HOME": str(root / "own"), "TMPDIR": str(root), "PATH": PATH, "LANG": "C.UTF-8"}
        self.env["PANCODE_HOME"] = str(coordinator)
        self.folder = root / "own"

    def __call__(self, *words: str) -> str:
        argv = [sys.executable, "-m", "pancode", *words]
        patience = 240 * crowded()
        done = subprocess.run(
            argv, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=patience, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return done.stdout

    def nodes(self) -> dict[str, str]:
        return {node["name"]: node["state"] for node in self.ask("fleet", "status")["nodes"]}

    def ask(self, *words: str) -> Any:
        return json.loads(self(*words, "--json"))


@pytest.mark.slow
@pytest.mark.parametrize("state", kept(), ids=names)
def test_a_newer_version_continues_where_the_older_one_stopped(state: Kept, root: Path) -> None:
    """Every answer is the same, receipts verify, the run in flight ends, and new work is done."""
    home = state.lay_out(root)
    postpone_schedules(home / "ledger.db")
    pancode = Person(root, home)
    lay_out_bundles(root / "desk/bundles")
    before, in_flight = _attempts(root), state.about["in_flight"]
    assert len(before) >= 4
    try:
        pancode("fleet", "up")
        both = {"alder": "online", "birch": "online"}
        until(lambda: pancode.nodes() == both, "both are online", told=pancode.nodes)
        until(lambda: pancode.ask("runs", "show", in_flight)["outcome"], "the run in flight ends")
        assert pancode.ask("runs", "show", in_flight)["outcome"] == "done"
        for question, words in QUESTIONS.items():
            said, now = state.said(question, root), pancode.ask(*words[:-1])
            if question == "budget":
                said, now = _but_for_the_day(said), _but_for_the_day(now)
            if question in ("runs", "receipts"):
                now[question] = [row for row in now[question] if row["run"] != in_flight]
            assert_kept(said, now, question)
        for run in state.about["said"]["runs"]["runs"]:
            if run["outcome"] not in (None, "interrupted"):
                assert pancode.ask("receipt", "verify", run["run"])["verdict"] == "PASS"
        done = next(run for run in state.about["said"]["runs"]["runs"] if run["landed"])
        assert "diff --git" in pancode("runs", "diff", done["run"])
        assert "new work" in pancode("dispatch", "--runtime", "shell", "--workspace", "none", "echo new work")
        assert before < _attempts(root)
    finally:
        pancode("fleet", "down", "--now")


def test_an_older_version_refuses_a_migrated_ledger(root: Path) -> None:
    path = root / "ledger.db"
    Kept(NEXT).write_ledger(path, root)
    (root / "versions").mkdir()
    (root / "versions/0099_further.py").write_text(FURTHER)
    SqlLedger(path, SCHEMA, history=Revisions("0099", (*SHIPPED, root / "versions"))).close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, check=lambda error: error.code == "ledger_newer") as refused:
        SqlLedger(path, SCHEMA)
    assert refused.value.code == "ledger_newer" and "PANCODE_HOME" in (refused.value.fix or "")
    assert path.read_bytes() == before


def postpone_schedules(ledger: Path) -> None:
    """No time of a schedule has passed since the home was kept: it would rightly begin a run."""
    now_ms = time.time_ns() // 1_000_000
    with closing(sqlite3.connect(ledger)) as database, database:
        database.execute("UPDATE schedules SET seen_ms = ?, next_ms = ?", (now_ms, now_ms + 86_400_000))


def _but_for_the_day(budget: dict[str, Any]) -> dict[str, Any]:
    """Leave out the day on which the state was taken, and what the run in flight adds."""
    lasting = [
        {key: value for key, value in scope.items() if not key.endswith("_minutes")}
        for scope in budget["scopes"]
        if not scope["scope"].startswith("day:")
    ]
    return {**budget, "scopes": lasting, "runs": None}


def _attempts(root: Path) -> set[str]:
    """That nodes know of."""
    return {
        name for journal in root.glob("*/.pancode-node/*/journal") for name in JournalFiles(journal).names()
    }


RENAMED = {"sittings": "interactive_runs"}
"""Keys of answers that have another name since the kept homes were made."""


def assert_kept(said: Any, now: Any, place: str) -> None:
    """Compare answers: a newer version may say more. `trouble` depends on servers that are gone, and the next
    start of a schedule on the clock; `why` is a sentence, which a newer version may word differently.
    """
    if isinstance(said, dict):
        gone = GONE_KEYS.get(place.rpartition(".")[2].partition("[")[0], set())
        for key, value in said.items():
            if key in ("trouble", "why", "next_at", "next") or key in gone:
                continue
            name = RENAMED.get(key, key)
            assert name in now, f"{place}.{key} is gone"
            assert_kept(value, now[name], f"{place}.{key}")
    elif isinstance(said, list):
        assert len(said) == len(now), place
        for index, value in enumerate(said):
            assert_kept(value, now[index], f"{place}[{index}]")
    else:
        assert said == now, place
