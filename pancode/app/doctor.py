"""Checks this machine as a coordinator's home: what is wrong, the evidence, and the fix."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sqlite3
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from node_agent.wire.clock import SystemClock
from pancode.app.listening import listening_at
from pancode.backups.checks import check_backup
from pancode.config.listeners import figures_in, read_api_listener
from pancode.config.load import ConfigPlaces, Loaded, load
from pancode.config.schema import Settings
from pancode.fleet.answers import HomeCheck
from pancode.fleet.checks import fail_check, pass_check
from pancode.fleet.place import ApiListener, ListenAddress
from pancode.fleet.ssh.home import Home
from pancode.interfaces.client.client import try_get
from pancode.kernel.errors import ConfigError, PancodeError
from pancode.kernel.formatting import count_noun, disk_of, escape_line, format_bytes
from pancode.kernel.host.disk_use import sizes_of
from pancode.kernel.host.single_instance import holder_of
from pancode.kernel.names import LEAST_SECRET
from pancode.kernel.node import SHORT_DISK
from pancode.notices.checks import check_deliveries, check_telemetry
from pancode.queue.valkey.binary import find_server
from pancode.runs.retention.run_files import FOLDERS
from pancode.store.inspection import REVISIONS, look_at
from pancode.store.migrations import HEAD


def _load_settings(what: str, home: Path, environ: Mapping[str, str]) -> Loaded | HomeCheck:
    """Return the settings; if they cannot be read, the failed check of what depends on them."""
    try:
        return load(ConfigPlaces(home), environ)
    except PancodeError:
        return fail_check(what, "warning", "unknown: the settings cannot be read", "fix the settings first")


def check_ledger(home: Path, environ: Mapping[str, str]) -> HomeCheck:
    """Check the ledger read-only; a coordinator may be running."""
    loaded = _load_settings("ledger", home, environ)
    if not isinstance(loaded, Loaded):
        return loaded
    url = loaded.settings.ledger.url
    return (
        _in_file(home / "ledger.db")
        if url is None
        else _check_server(url, loaded.origin("ledger.url"), loaded.settings.ledger.password_file)
    )


def _in_file(path: Path) -> HomeCheck:
    if not path.exists():
        return pass_check("ledger", "will be created at the first start")
    try:
        seen = look_at(path)
    except sqlite3.Error as exc:
        back = f"restore {path} from a backup (docs/howto/backup.md); it is read at the next start"
        return fail_check("ledger", "error", f"{path}: {exc}", back)
    if seen.wrong:
        return fail_check(
            "ledger", "error", f"{path} is damaged: {seen.wrong}", f"restore {path} from a backup"
        )
    if seen.revision not in REVISIONS:
        return _fail_newer(str(path), seen.revision)
    return pass_check(
        "ledger",
        f"SQLite, {path}, {seen.size >> 20} MiB, {count_noun(seen.runs, 'run')}, sound"
        + _format_upgrade(seen.revision),
    )


def _check_server(url: str, origin: str, password_file: str | None) -> HomeCheck:
    # The PostgreSQL libraries are imported only when needed.
    from pancode.store.postgres import database_of
    from pancode.store.postgres_inspection import look_there

    try:
        database = database_of(url, origin, password_file)
        seen = look_there(database, SystemClock())
    except PancodeError as error:
        return fail_check("ledger", "error", f"{error}: {error.why}".strip(": "), error.fix)
    place = f"PostgreSQL {seen.server}, {database.place} ({origin}), answers in {seen.answer_ms} ms"
    if seen.revision is None:
        return pass_check("ledger", f"{place}; empty, will be set up at the first start")
    if seen.revision not in REVISIONS:
        return _fail_newer(database.place, seen.revision)
    return pass_check(
        "ledger",
        f"{place}, {seen.size >> 20} MiB, {count_noun(seen.runs, 'run')}{_format_upgrade(seen.revision)}",
    )


def _fail_newer(place: str, revision: str) -> HomeCheck:
    newer = f"{place} has schema {revision}, which this version does not support"
    return fail_check("ledger", "error", newer, "install the version that wrote it, or a newer one")


def _format_upgrade(revision: str) -> str:
    return "" if revision == HEAD else f"; schema {revision}, will be upgraded to {HEAD} at the next start"


CONNECT_S = 5.0


@dataclass(frozen=True, slots=True)
class Opening:
    """A listener. `what`: its name; `setting`: the key of its address; `log`: the prefix of its log lines."""

    what: str
    setting: str
    log: str
    read: Callable[[Loaded], ListenAddress | None]


FIGURES = Opening("metrics", "metrics.listen", "pancode.metrics", figures_in)
API = Opening("API over TCP", "api.listen", "pancode.api", lambda loaded: _place(read_api_listener(loaded)))


def _place(listener: ApiListener | None) -> ListenAddress | None:
    return None if listener is None else listener.place


def check_listener(of: Opening, home: Path, environ: Mapping[str, str]) -> HomeCheck:
    """Check whether the coordinator listens at the address, or could when it starts. Sends nothing."""
    loaded = _load_settings(of.what, home, environ)
    if not isinstance(loaded, Loaded):
        return loaded
    try:
        place = of.read(loaded)
    except PancodeError as error:
        return fail_check(of.what, "error", f"{error} {error.why}".strip(), error.fix)
    if place is None:
        return pass_check(of.what, "not used: no listener is configured")
    return _check_running(of, home, place) if holder_of(home) is not None else _at_rest(of, place)


def _check_running(of: Opening, home: Path, place: ListenAddress) -> HomeCheck:
    # first the coordinator's own error for that address: another program may answer there
    closed = (try_get(home, "/v1/fleet", CONNECT_S) or {}).get("coordinator", {}).get("closed", [])
    problem = next((one for one in closed if f" at {place}" in one["what"]), None)
    if problem is not None:
        return fail_check(of.what, "error", f"{problem['what']}: {problem['why']}", problem["fix"])
    wrong = _explain_refusal(place) if place.port else ""
    if not wrong:
        return pass_check(of.what, f"open at {place} ({place.origin})")
    log = f"grep '{of.log}' {home}/run/coordinator.log"
    fix = f"if you set it after the start: pancode fleet down, then pancode fleet up; otherwise check: {log}"
    return fail_check(
        of.what, "error", f"the coordinator does not answer at {place} ({place.origin}): {wrong}", fix
    )


def _explain_refusal(place: ListenAddress) -> str:
    try:
        with socket.create_connection((place.host, place.port), CONNECT_S):
            return ""
    except OSError as exc:
        return str(exc)


def _at_rest(of: Opening, place: ListenAddress) -> HomeCheck:
    """Check the address, while no coordinator runs, by briefly listening at it."""
    try:
        listening_at(place).close()
    except OSError as exc:
        fix = f"set {of.setting} to an address of this machine (ip -brief addr) and a free port (ss -ltn)"
        return fail_check(of.what, "error", f"cannot listen at {place} ({place.origin}): {exc}", fix)
    return pass_check(of.what, f"{place} ({place.origin}) is free; the coordinator opens it when it starts")


PING_S = 5.0
SETTINGS_CHECKS: tuple[Callable[[Settings], HomeCheck | None], ...] = (check_telemetry,)
"""What is wrong with settings that can be read."""


def run_checks(home: Path, environ: Mapping[str, str]) -> list[HomeCheck]:
    """Run all checks: `{"what", "ok", "level", "detail", "fix"}`; `level`: error or warning. Read-only."""

    def ask(path: str) -> dict[str, Any] | None:
        return try_get(home, path, PING_S) if holder_of(home) else None

    looks: tuple[Callable[[], HomeCheck], ...] = (
        _check_python,
        lambda: _check_program("git", "error", "install git"),
        lambda: _check_program(
            "ssh", "warning", "install OpenSSH's client; PanCode has its own SSH, but its fixes use ssh"
        ),
        lambda: _check_folder(home),
        lambda: _check_settings(home, environ),
        lambda: _check_key(home),
        lambda: check_backup(home),
        lambda: _check_bundles(home),
        lambda: _check_disk(home),
        lambda: check_ledger(home, environ),
        lambda: _check_redis(home, environ),
        lambda: check_listener(FIGURES, home, environ),
        lambda: check_listener(API, home, environ),
        lambda: _check_secrets(node_homes(home, environ)),
        lambda: check_deliveries(holder_of(home) is not None, ask("/v1/notify")),
        lambda: _check_coordinator(home),
        lambda: check_disks(ask("/v1/fleet")),
    )
    return [look() for look in looks]


def _check_python() -> HomeCheck:
    version = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 14):
        return pass_check("Python", version)
    return fail_check("Python", "warning", f"{version} is not a tested version", "use Python 3.11 to 3.14")


def _check_program(name: str, level: str, fix: str) -> HomeCheck:
    found = shutil.which(name)
    return pass_check(name, found) if found else fail_check(name, level, f"no {name} on PATH", fix)


def _check_folder(home: Path) -> HomeCheck:
    try:
        state = home.stat()
    except FileNotFoundError:
        return _check_writable(home) or pass_check(
            "home", f"{home} does not exist yet; the first start creates it"
        )
    except OSError as exc:
        return fail_check("home", "error", str(exc), "set PANCODE_HOME to a directory of your own")
    if not stat.S_ISDIR(state.st_mode):
        return fail_check(
            "home", "error", f"{home} is not a directory", "set PANCODE_HOME to a directory of your own"
        )
    if state.st_uid != os.getuid():
        owner = f"{home} belongs to uid {state.st_uid}"
        return fail_check("home", "error", owner, "set PANCODE_HOME to a directory of your own")
    if stat.S_IMODE(state.st_mode) & 0o077:
        return fail_check("home", "error", f"{home} is accessible to other users", f"chmod 700 {home}")
    return _check_writable(home) or pass_check("home", str(home))


def _check_writable(home: Path) -> HomeCheck | None:
    """Return the problem if the home is not writable, as on a read-only file system; else None."""
    place = next(p for p in (home, *home.parents) if p.exists())
    if os.access(place, os.W_OK | os.X_OK):
        return None
    fix = f"remount it writable (findmnt -T {place}), or set PANCODE_HOME to another directory"
    return fail_check("home", "error", f"{place} is not writable", fix)


def _check_settings(home: Path, environ: Mapping[str, str]) -> HomeCheck:
    try:
        loaded = load(ConfigPlaces(home), environ)
    except PancodeError as error:
        return fail_check("settings", "error", f"{error} {error.why}".strip(), error.fix)
    if loaded.warnings:
        return fail_check(
            "settings",
            "warning",
            "; ".join(loaded.warnings),
            "remove the setting, correct its name, or set the key that it requires",
        )
    found = (check(loaded.settings) for check in SETTINGS_CHECKS)
    return next(filter(None, found), pass_check("settings", "all files are readable"))


def _check_key(home: Path) -> HomeCheck:
    key = home / "key/coordinator.key"
    try:
        mode = stat.S_IMODE(key.stat().st_mode)
    except FileNotFoundError:
        if (home / "ledger.db").exists() or (home / "epoch").exists():
            lost = "the coordinator's key is missing, but the ledger exists"
            return fail_check(
                "key",
                "error",
                lost,
                f"restore {key} from your backup; if you have none: pancode admin keys --rotate --lost",
            )
        return pass_check("key", "will be created at the first start")
    except OSError as exc:
        return fail_check("key", "error", str(exc), f"check {key.parent}")
    if mode & 0o077:
        return fail_check("key", "error", f"{key} has mode {mode:o}", f"chmod 600 {key}")
    try:
        Home(home).signing_key()
    except ConfigError as exc:
        return fail_check("key", "error", f"{exc}: {exc.why}", exc.fix)
    except OSError as exc:
        fix = f"chmod 600 {key}; if another user owns it: sudo chown {os.getuid()} {key}"
        return fail_check("key", "error", f"{key}, mode {mode:o}, cannot be read: {exc.strerror}", fix)
    return pass_check("key", f"{key}, mode {mode:o}")


def _check_bundles(home: Path) -> HomeCheck:
    """Report how many node bundles are stored. A new bundle replaces older versions, except the latest."""
    sizes = [path.stat().st_size for path in sorted((home / "bundles").glob("*.tar.gz"))]
    detail = f"{len(sizes)} kept, {sum(sizes) >> 20} MB" if sizes else "none built yet"
    return pass_check("node bundles", detail)


def _check_disk(home: Path) -> HomeCheck:
    place = next(p for p in (home, *home.parents) if p.exists())
    free = shutil.disk_usage(place).free
    if free < SHORT_DISK:
        fix = "pancode admin gc --dry-run shows what uses the space; admin gc deletes files of old runs"
        # This reads the sizes of all files, so it runs only if the disk is nearly full.
        parts = [f"{name} {format_bytes(taken)}" for name, taken in sizes_of(home, FOLDERS).items() if taken]
        return fail_check("disk", "error", f"{free >> 20} MiB free at {place}; {', '.join(parts[:3])}", fix)
    return pass_check("disk", f"{free >> 30} GiB free at {place}")


def check_disks(answer: Mapping[str, Any] | None) -> HomeCheck:
    """Check the disks of the nodes, as reported by the coordinator."""
    short = [node for node in (answer or {}).get("nodes", ()) if node["disk_most"]]
    if short:
        words = (f"{one['name']}: free {disk_of(one)}" for one in short)
        fix = "pancode doctor shows details; nodes.keep in pancode.yaml limits what nodes store"
        return fail_check("nodes' disks", "warning", "; ".join(words), fix)
    return pass_check(
        "nodes' disks", "unknown: no coordinator answers" if answer is None else "none is nearly full"
    )


def _check_redis(home: Path, environ: Mapping[str, str]) -> HomeCheck:
    loaded = _load_settings("Redis", home, environ)
    if not isinstance(loaded, Loaded):
        return loaded
    try:
        redis = loaded.settings.redis
        if redis.url is None:
            return pass_check("Redis", f"our own: {find_server()}")
        from pancode.queue.valkey.access import Beside
        from pancode.queue.valkey.external import check_external

        origin = loaded.origin("redis.url")
        found = check_external(redis.url, origin, Beside.of(**redis.model_dump(exclude={"url"})))
        how = " over TLS" if found.access.tls else ""
        summary = f"{found.product} {found.version} answers at {found.access.place}{how} ({origin})"
        if found.policy != "noeviction":
            deleted = f"has deleted {found.evicted} keys" if found.evicted else "deletes keys"
            why = f"{summary}; it {deleted}, also jobs and results, when its memory is full ({found.policy})"
            fix = "set its maxmemory-policy to noeviction: CONFIG SET maxmemory-policy noeviction"
            return fail_check("Redis", "error" if found.evicted else "warning", why, fix)
        if not found.open_as:
            return pass_check("Redis", summary)
        whoever = (
            f"anyone who can connect, including each node, has access without a password as {found.open_as}"
        )
        fix = f"set a password, and create a separate user for {origin} (docs/howto/external-redis.md)"
        return fail_check("Redis", "warning", f"{summary}; {whoever}", fix)
    except PancodeError as error:
        return fail_check("Redis", "error", f"{error} {error.why}".strip(), error.fix)


def _check_coordinator(home: Path) -> HomeCheck:
    holder = holder_of(home)
    if holder is None:
        return pass_check("coordinator", "not running; the first command that needs it starts it")
    answer = try_get(home, "/v1/ping", PING_S)
    if answer is None:
        fix = f"see {home}/run/coordinator.log; to stop it: kill {holder.pid} (else kill -9 {holder.pid})"
        return fail_check("coordinator", "error", f"pid {holder.pid} did not answer within {PING_S:g} s", fix)
    return pass_check("coordinator", f"pid {answer['pid']}, version {answer['version']}")


def node_homes(home: Path, environ: Mapping[str, str]) -> list[Path]:
    """Return the homes of this machine's node agents: the default one, and those a coordinator reports."""
    user = Path(environ.get("HOME") or Path.home())
    found = set(user.glob(".pancode-node/f-*"))
    fleet = (try_get(home, "/v1/fleet", PING_S) or {}) if holder_of(home) is not None else {}
    for node in fleet.get("nodes", ()):
        reach = (try_get(home, f"/v1/nodes/{node['name']}", PING_S) or {}).get("target") or {}
        if reach.get("local") and reach["installed_home"]:
            found.add(Path(reach["installed_home"]))
    return sorted(found)


def _check_secrets(homes: Sequence[Path]) -> HomeCheck:
    """Check the secrets of runs in these node agents' homes, without showing any."""
    files = [path for home in homes if os.path.exists(path := home / "secrets.json")]
    for path in files:
        values: object = None
        try:
            values = json.loads(path.read_bytes())
            broken = (
                "" if isinstance(values, dict) else "the file must be a JSON object that maps names to values"
            )
        except json.JSONDecodeError as exc:
            broken = f"line {exc.lineno}, column {exc.colno}: {exc.msg}"
        except (OSError, UnicodeDecodeError) as exc:
            broken = f"it cannot be read: {type(exc).__name__}"
        if broken:
            fix = f'correct {path}: {{"NAME": "value"}}; until then no run here gets a key from it'
            return fail_check("secrets", "error", f"{path}: {broken}", fix)
        rows = values.items() if isinstance(values, dict) else ()
        short = [name for name, value in rows if isinstance(value, str) and 0 < len(value) < LEAST_SECRET]
        if short:
            detail = f"{path}: {', '.join(map(escape_line, short))} has fewer than {LEAST_SECRET} characters"
            fix = "replace it by a longer secret: its value is hidden in every log, and so are parts of words"
            return fail_check("secrets", "warning", detail, fix)
    return pass_check("secrets", ", ".join(map(str, files)) or "no secrets.json on this machine")
