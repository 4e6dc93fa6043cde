"""A change of the settings is in the audit: its keys and sources, and never a value."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any

from pancode.config.watch import ROW, ConfigWatch
from pancode.kernel.records import Audit, Setting
from tests.unit.pancode.runs.world import Desk

FILE = "/home/a/.pancode/pancode.yaml"


class Files:
    """The settings as they are read now."""

    def __init__(self) -> None:
        self.rows = [("budget.daily", "10", f"{FILE}:3"), ("land.how", "squash", "built-in")]

    def __call__(self) -> list[tuple[str, str, str]]:
        return self.rows


def told(desk: Desk) -> list[dict[str, Any]]:
    return [dict(one.detail) for one in desk.rows(Audit, domain="config")]


def test_keys_and_sources_are_on_record_and_values_are_not() -> None:
    desk, files = Desk(), Files()
    watch = ConfigWatch(desk.core, files, "s")
    watch.look()
    assert told(desk) == [], "the first look changes nothing"
    files.rows = [("budget.daily", "hunter2", f"{FILE}:3"), ("land.how", "merge", "PANCODE_LAND_HOW")]
    watch.look()
    watch.look()
    (entry,) = told(desk)
    assert entry == {"keys": ["budget.daily", "land.how"], "count": 2, "from": [FILE, "PANCODE_LAND_HOW"]}
    assert "hunter2" not in json.dumps([str(row) for kind in (Audit,) for row in desk.rows(kind)])


def test_a_line_that_moves_is_no_change_and_one_over_a_restart_is() -> None:
    desk, files = Desk(), Files()
    ConfigWatch(desk.core, files, "s").look()
    files.rows[0] = ("budget.daily", "10", f"{FILE}:9")
    desk.restart()
    ConfigWatch(desk.core, files, "s").look()
    assert told(desk) == []
    files.rows = []
    desk.restart()
    ConfigWatch(desk.core, files, "s").look()
    assert [one["keys"] for one in told(desk)] == [["budget.daily"]], "taken out of the file"
    assert told(desk)[0]["from"] == [FILE]


def test_a_rotated_password_is_on_record_and_no_digest_of_it_can_be_guessed() -> None:
    desk, files = Desk(), Files()
    found = {}
    for secret in ("one", "two"):
        files.rows = [("redis.url", "redis://:hunter2@h:1", "REDIS_URL")]
        ConfigWatch(desk.core, files, secret).look()
        (row,) = desk.rows(Setting, name=ROW)
        found[secret] = str(row.value)
    assert found["one"] != found["two"] and sha256(b"redis://:hunter2@h:1").hexdigest()[:16] not in str(found)
    before = len(told(desk))
    files.rows = [("redis.url", "redis://:hunter3@h:1", "REDIS_URL")]
    ConfigWatch(desk.core, files, "two").look()
    assert told(desk)[before:] == [{"keys": ["redis.url"], "count": 1, "from": ["REDIS_URL"]}]
    assert "hunter" not in str(desk.rows(Audit)) + str(desk.rows(Setting))
