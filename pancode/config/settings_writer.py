"""Sets and unsets one setting in settings.json; checks the key and the value, and reports the effective
value."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from threading import Lock

from pancode.config.agents.edit import with_value
from pancode.config.layers import CHOSEN
from pancode.config.load import MACHINE_FILE, ConfigPlaces, Loaded, load, setting_keys
from pancode.config.schema import BY_NAME, OWN_OF_PROJECT
from pancode.config.settings_json import document_of, read_kept, remove_key, text_at, value_of
from pancode.kernel.documents import Document
from pancode.kernel.errors import ConfigError, NotFoundError, RefusedError, UsageError
from pancode.kernel.host.files import write_durable
from pancode.kernel.names import find_nearest
from pancode.runs.project_rules import project_name
from pancode.runs.user_environment import SettingChange, SettingSaid

BY_VERB = {"budget.ceiling": "pancode budget set"}
"""Keys with a command of their own; a value set by that command takes precedence over any file."""
AT_START = (
    *("sessions.max_usd", "timing", "health", "keep", "nodes"),
    *("redis", "metrics", "api", "ledger", "telemetry"),
)
"""Keys and groups that the coordinator reads when it starts."""
WORKER_MODEL = "models.worker"
"""Names that users try for `model`, `dispatch.model` or `worker.model`."""
UNREADABLE = "(the settings cannot be read)"


class KeptSettings:
    """The settings.json of one home; thread-safe. `environ`: the coordinator's environment."""

    def __init__(self, home: Path, environ: Mapping[str, str], machine: Path = MACHINE_FILE) -> None:
        self._places, self._environ = ConfigPlaces(home, None, machine), environ
        self._lock = Lock()

    def look(self, key: str, text: str | None) -> SettingChange:
        """Return what a change would do, without writing it. `text` None: remove the key."""
        return self._decide_change(key, text)[0]

    def change(self, key: str, text: str | None) -> SettingChange:
        """Write the change to the file. UsageError, ConfigError and NotFoundError leave the file
        unchanged."""
        with self._lock:
            change, file = self._decide_change(key, text)
            try:
                write_durable(self._places.home / CHOSEN, file.encode())
            except OSError as exc:
                place = self._places.home
                raise ConfigError(
                    f"cannot write {place / CHOSEN}", why=str(exc), fix=f"ls -l {place}"
                ) from exc
            return change

    def _decide_change(self, key: str, text: str | None) -> tuple[SettingChange, str]:
        """Return the change, and the text of the file after it."""
        home = self._places.home
        document = read_kept(home)
        if text is None:
            after, file = document_of(remove_key(document, key), home)
            was, now = self._read_value(document, key), self._read_value(after, key)
        else:
            _must_be_ours(key)
            was = self._read_value(document, key)
            after, file = document_of(with_value(document.data, key.split("."), value_of(key, text)), home)
            now = self._require_fit(after, key, text, readable=was.value != UNREADABLE)
        start = any(key == one or key.startswith(f"{one}.") for one in AT_START)
        wins = "" if text is None or now.origin.startswith(str(home / CHOSEN)) else now.origin
        return SettingChange(key, text_at(document, key), text_at(after, key), was, now, wins, start), file

    def _require_fit(self, after: Document, key: str, text: str, readable: bool) -> SettingSaid:
        """Return the new value. UsageError if it is invalid; ConfigError if the file was already invalid."""
        try:
            loaded = self._load(after)
            if gone := next((one for one in loaded.removed if one.key == key), None):
                fix = f"nothing was written; pancode config set {key} {gone.instead}"
                what = f"{key}: {text} no longer exists"
                raise UsageError(what, why=gone.reason, fix=fix, code="bad_value")
            return _find_setting(loaded, key)
        except ConfigError as wrong:
            if not readable:
                raise
            what = str(wrong).partition(f"{CHOSEN}:")[2].partition(": ")[2] or f"{key}: {text} is not valid"
            fix = f"nothing was written; pancode config set {key} VALUE"
            raise UsageError(what, why=wrong.why, fix=fix, code="bad_value") from wrong

    def _load(self, kept: Document) -> Loaded:
        return load(self._places, self._environ, kept=kept)

    def _read_value(self, kept: Document, key: str) -> SettingSaid:
        """Return the key's value even if the file has errors: invalid keys are left out one by one."""
        try:
            return _find_setting(self._load(kept), key)
        except ConfigError as wrong:
            return SettingSaid(UNREADABLE, str(wrong))


def _find_setting(loaded: Loaded, key: str) -> SettingSaid:
    """Return the key's value and origin; both empty for an unknown key."""
    found = next(((value, origin) for path, value, origin in loaded.rows() if path == key), ("", ""))
    return SettingSaid(*found)


def _must_be_ours(key: str) -> None:
    """Raise RefusedError, UsageError or NotFoundError, with a fix, for a key that this file cannot set."""
    keys, shown = setting_keys(), key[:80]
    if key in BY_VERB:
        fix = f"{BY_VERB[key]} USD"
        why = "a value set by that command takes precedence over any file"
        raise RefusedError(f"{key} has its own command", why=why, fix=fix, code="not_here")
    if key in OWN_OF_PROJECT:
        why = "the key would override the gates and preferences of every repository"
        fix = f"set {key}: in the pancode.yaml of the repository"
        raise RefusedError(f"{CHOSEN} must not set {key}", why=why, fix=fix, code="not_yours")
    if key.partition(".")[0] == BY_NAME and key != BY_NAME:
        project_name(key.partition(".")[2])
        return
    if key in keys:
        return
    whole = next((one for one in keys if key.startswith(f"{one}.")), None)
    if whole is not None:
        why, fix = f"{whole} can only be set as a whole", f"pancode config set {whole} VALUE"
    elif below := [one for one in keys if one.startswith(f"{key}.")]:
        why, fix = f"it is a group: {', '.join(below)}", f"pancode config set {below[0]} VALUE"
    else:
        near = WORKER_MODEL if "model" in key.split(".") else find_nearest(key, keys)
        why = f"did you mean {near}?" if near else ""
        fix = f"pancode config set {near} VALUE" if near else "pancode config show"
    raise NotFoundError(f"setting {shown!r} not found", why=why, fix=fix, code="no_setting")
