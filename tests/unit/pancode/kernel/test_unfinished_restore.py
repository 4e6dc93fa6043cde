"""A home into which a restore has not ended is refused, with the command that continues it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pancode.kernel.errors import ConfigError
from pancode.kernel.unfinished_restore import MARK, RESTORING, refuse_unfinished_restore

COMMAND = "pancode admin restore --from box"
ANY = "pancode admin restore --from HOST"
READING, MOVING = {"command": COMMAND}, {"command": COMMAND, "entries": ["key", "ledger.db"]}


@pytest.mark.parametrize("entries", [(), ("run",), (RESTORING,), ("ledger.db", RESTORING)])
def test_a_home_without_the_mark_is_used(tmp_path: Path, entries: tuple[str, ...]) -> None:
    refuse_unfinished_restore(tmp_path / "none")
    for name in entries:
        (tmp_path / name).mkdir()
    refuse_unfinished_restore(tmp_path)


@pytest.mark.parametrize(
    ("mark", "others", "command", "removed"),
    [
        (READING, (), COMMAND, RESTORING),
        (READING, ("run", "pancode.yaml"), COMMAND, RESTORING),
        (MOVING, ("run", "key"), COMMAND, "."),
        (MOVING, ("key", "precious"), COMMAND, None),
        ({"entries": ["key"], "restored": {}}, ("key",), ANY, "."),
        ("", (), ANY, RESTORING),
        ("[]", (), ANY, RESTORING),
    ],
)
def test_the_error_names_what_continues_it_and_what_may_be_removed(
    tmp_path: Path, mark: object, others: tuple[str, ...], command: str, removed: str | None
) -> None:
    (tmp_path / RESTORING).mkdir()
    for name in others:
        (tmp_path / name).mkdir()
    (tmp_path / RESTORING / MARK).write_text(mark if isinstance(mark, str) else json.dumps(mark))
    with pytest.raises(ConfigError) as caught:
        refuse_unfinished_restore(tmp_path)
    assert caught.value.code == "restore_unfinished" and int(caught.value.exit_code) == 3
    continued, _, given_up = caught.value.fix.partition("; ")
    assert continued == f"continue it: {command}"
    assert given_up.endswith(f": rm -r {(tmp_path / removed).resolve()}" if removed else ""), given_up
    assert bool(given_up) is bool(removed)


def test_a_folder_that_has_files_without_the_mark_is_refused(tmp_path: Path) -> None:
    (tmp_path / RESTORING / "files").mkdir(parents=True)
    with pytest.raises(ConfigError, match="has not ended"):
        refuse_unfinished_restore(tmp_path)
