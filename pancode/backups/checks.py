"""The check of `pancode doctor` for copies of this fleet."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from node_agent.wire.clock import SystemClock
from pancode.backups.answers import HERE
from pancode.backups.model import OLD_MS, is_folder
from pancode.backups.records import CopyRecords
from pancode.fleet.answers import HomeCheck
from pancode.fleet.checks import fail_check, pass_check
from pancode.fleet.ssh.home import Home
from pancode.kernel.errors import ConfigError
from pancode.kernel.formatting import format_seconds


def check_backup(home: Path) -> HomeCheck:
    """Check how old the last verified copy of this fleet is; without one, that the key was copied."""
    key, marker = home / "key/coordinator.key", home / "key/BACKED-UP"
    if not key.exists():
        return pass_check("backup", "no key yet")
    records = CopyRecords(home)
    places = records.places()
    if found := records.newest_whole():
        place, copy = found
        age_ms = max(0, SystemClock().wall_ms() - copy.taken_ms)
        words = f"{copy.name} on {place}, taken {format_seconds(age_ms / 1_000)} ago, verified"
        words += f"; {HERE}" if is_folder(place) else ""
        wrong = [f"the last try on {one.place} failed: {one.trouble}" for one in places if one.trouble]
        with suppress(ConfigError):  # another check reports a damaged key
            own = Home(home).signing_key()
            wrong += ["it lacks the newest key"] if own and own.public.tag != copy.key else []
        if wrong or age_ms > OLD_MS:
            again = f"pancode admin backup {'--to-folder' if is_folder(place) else '--to'} {place}"
            return fail_check("backup", "warning", "; ".join((words, *wrong)), again)
        return pass_check("backup", words)
    if marker.exists() and marker.stat().st_mtime >= key.stat().st_mtime:
        return pass_check("backup", f"the key, confirmed by you: {marker}")
    lost = "none: without the key you must trust every node again, and cannot verify old receipts"
    fix = f"pancode admin backup --to NODE; or copy {key} to a safe place, then: touch {marker}"
    return fail_check("backup", "warning", lost, fix)
