"""Looks at this machine as a coordinator's home: what is wrong, how we know, the command that mends it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pancode.adapters.store.look import REVISIONS, look_at
from pancode.adapters.store.migrations import HEAD
from pancode.adapters.valkey.binary import find_server
from pancode.client import Client
from pancode.config.load import Places, load
from pancode.errors import PancodeError
from pancode.offline.sole import holder_of

Check = dict[str, Any]
FREE = 1 << 30
"""Bytes below which a disk is called short."""


def examine(home: Path, environ: Mapping[str, str]) -> list[Check]:
    """All checks: `{"what", "ok", "level", "detail", "fix"}`; `level` error or warning. Changes nothing."""
    looks: tuple[Callable[[], Check], ...] = (
        _python,
        lambda: _program("git", "error", "install git"),
        lambda: _program(
            "ssh", "warning", "install OpenSSH's client; PanCode speaks SSH itself, the fixes do not"
        ),
        lambda: _folder(home),
        lambda: _settings(home, environ),
        lambda: _key(home),
        lambda: _backup(home),
        lambda: _disk(home),
        lambda: _ledger(home),
        lambda: _redis(home, environ),
        lambda: _coordinator(home),
    )
    return [look() for look in looks]


def _good(what: str, detail: str) -> Check:
    return {"what": what, "ok": True, "level": "ok", "detail": detail, "fix": ""}


def _bad(what: str, level: str, detail: str, fix: str) -> Check:
    return {"what": what, "ok": False, "level": level, "detail": detail, "fix": fix}


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return _good("Python", version)
    return _bad("Python", "warning", f"{version} is not one that is tested", "use Python 3.11, 3.12 or 3.13")


def _program(name: str, level: str, fix: str) -> Check:
    found = shutil.which(name)
    return _good(name, found) if found else _bad(name, level, f"no {name} on PATH", fix)


def _folder(home: Path) -> Check:
    try:
        state = home.stat()
    except FileNotFoundError:
        return _good("home", f"{home} is not there yet; the first start makes it")
    except OSError as exc:
        return _bad("home", "error", str(exc), "set PANCODE_HOME to a folder of your own")
    if state.st_uid != os.getuid():
        owner = f"{home} belongs to uid {state.st_uid}"
        return _bad("home", "error", owner, "set PANCODE_HOME to a folder of your own")
    if stat.S_IMODE(state.st_mode) & 0o077:
        return _bad("home", "error", f"{home} is open to others", f"chmod 700 {home}")
    return _good("home", str(home))


def _settings(home: Path, environ: Mapping[str, str]) -> Check:
    try:
        loaded = load(Places(home), environ)
    except PancodeError as error:
        return _bad("settings", "error", f"{error} {error.why}".strip(), error.fix)
    if loaded.warnings:
        return _bad("settings", "warning", "; ".join(loaded.warnings), "unset it, or correct its name")
    return _good("settings", "all files can be read")


def _key(home: Path) -> Check:
    key = home / "key/coordinator.key"
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except FileNotFoundError:
        if (home / "ledger.db").exists():
            lost = "the coordinator's key is gone, and the ledger is there"
            return _bad("key", "error", lost, f"restore {key} from your backup, else trust every node anew")
        return _good("key", "made at the first start")
    except OSError as exc:
        return _bad("key", "error", str(exc), f"look at {key.parent}")
    if mode & 0o077:
        return _bad("key", "error", f"{key} has mode {mode:o}", f"chmod 600 {key}")
    return _good("key", f"{key}, mode 600")


def _backup(home: Path) -> Check:
    """Nobody can see a backup; the owner says that there is one, newer than the key."""
    key, said = home / "key/coordinator.key", home / "key/BACKED-UP"
    if not key.exists():
        return _good("key backup", "no key yet")
    if said.exists() and said.stat().st_mtime >= key.stat().st_mtime:
        return _good("key backup", f"you said so: {said}")
    lost = (
        "without this key every node must be trusted anew, and old receipts cannot be told from forged ones"
    )
    return _bad("key backup", "warning", lost, f"copy {key} to a safe place, then: touch {said}")


def _disk(home: Path) -> Check:
    place = next(p for p in (home, *home.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < FREE:
        return _bad(
            "disk", "error", f"{free >> 20} MiB free at {place}", "free disk space: logs, depots, receipts"
        )
    return _good("disk", f"{free >> 30} GiB free at {place}")


def _ledger(home: Path) -> Check:
    """Opened for reading only, beside a coordinator that may run."""
    path = home / "ledger.db"
    if not path.exists():
        return _good("ledger", "made at the first start")
    try:
        seen = look_at(path)
    except sqlite3.Error as exc:
        back = f"put a copy of {path} back (docs/howto/backup.md); it is read again at the next start"
        return _bad("ledger", "error", f"{path}: {exc}", back)
    if seen.wrong:
        return _bad("ledger", "error", f"{path} is damaged: {seen.wrong}", f"put a copy of {path} back")
    if seen.revision not in REVISIONS:
        newer = f"{path} has the schema {seen.revision}, which this version does not know"
        return _bad("ledger", "error", newer, "install the version that wrote it, or a newer one")
    old = "" if seen.revision == HEAD else f"; schema {seen.revision}, brought up to {HEAD} at the next start"
    return _good("ledger", f"{path}, {seen.size >> 20} MiB, {seen.runs} runs, sound{old}")


def _redis(home: Path, environ: Mapping[str, str]) -> Check:
    try:
        url = load(Places(home), environ).settings.redis.url
        if url is None:
            return _good("Redis", f"our own: {find_server()}")
        from pancode.adapters.valkey.external import check_external

        return _good("Redis", f"answers at {check_external(url).access.place}")
    except PancodeError as error:
        return _bad("Redis", "error", f"{error} {error.why}".strip(), error.fix)


def _coordinator(home: Path) -> Check:
    holder = holder_of(home)
    if holder is None:
        return _good("coordinator", "does not run; the first command that needs it starts it")
    try:
        told = Client(home, starts=False).get("/v1/ping")
    except PancodeError as error:
        fix = f"look at {home}/run/coordinator.log; end it: kill {holder.pid}"
        return _bad("coordinator", "error", f"pid {holder.pid} does not answer: {error}", fix)
    return _good("coordinator", f"pid {told['pid']}, version {told['version']}")
