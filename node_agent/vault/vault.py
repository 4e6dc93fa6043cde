"""The node's secrets by name: from `secrets.json` or the sources that it names, else from the environment.

A value in that file is a string, or an object with one of: `env` (a variable), `file` (a path), `command` (an
argument list), `credential` (the name of one that systemd gives the node agent).
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from node_agent.wire.clock import Clock
from node_agent.wire.node import MOST_VARIABLE_CHARS, MOST_VARIABLES, NodeProblem

FRESH_MS = 60_000
"""How long a value from another source is reused: a command may be slow, or query its own server."""
LOOK_MS = 20
"""The shortest time between two checks of the owner's files, since preparing a run reads about ten values."""
COMMAND_S = 10
MOST_BYTES = 1 << 20
CREDENTIALS = "CREDENTIALS_DIRECTORY"
FIX = 'correct this node\'s secrets.json: {"NAME": "value"} or {"NAME": {"file": "/path"}}'


NO_TOKENS: Mapping[str, Path] = {}


class NoValue(Exception):
    """Raised when a secret has no value; the message names the source and never a value."""


@dataclass(frozen=True, slots=True)
class VaultValues:
    """The values from the owner's file. `missing`: names without a value, with the reason shown to users."""

    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    missing: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""


def read_stamp(path: Path) -> tuple[int, ...] | None:
    """Return a stamp that changes with each change of a file; empty if it is unreadable, None if missing."""
    try:
        seen = os.stat(path)
    except OSError:
        return () if os.path.lexists(path) else None
    return seen.st_ino, seen.st_mtime_ns, seen.st_size, seen.st_dev


class Vault:
    """The node's secrets by name. Thread-safe. Reads the owner's file after a change, other sources at most
    once a minute."""

    def __init__(
        self, path: Path, environ: Mapping[str, str], clock: Clock, tokens: Mapping[str, Path] = NO_TOKENS
    ) -> None:
        """`tokens`: the files that logins wrote, by name; the owner's file takes precedence."""
        self._path, self._environ, self._clock, self._tokens = path, environ, clock, tokens
        self._lock = threading.Lock()
        self._seen: object = ()
        self._found, self._due = VaultValues(), 0
        self._looked = -LOOK_MS
        self._told = self._read_states()

    def values(self) -> Mapping[str, str]:
        """Return the present value of every name that has one."""
        return {**self._environ, **self._look().values}

    def names(self) -> tuple[str, ...] | None:
        """Return the names that have a value now, for a heartbeat; None if too many for a heartbeat."""
        names = tuple(sorted(self.values()))
        fit = len(names) <= MOST_VARIABLES and sum(map(len, names)) <= MOST_VARIABLE_CHARS
        return names if fit else None

    def owned(self) -> frozenset[str]:
        """Return the names in the owner's file, whose values are all secrets."""
        found = self._look()
        return frozenset({*found.values, *found.missing})

    def why_missing(self, name: str) -> str:
        """Return why a name of the owner's file has no value; empty for a name that is not in the file."""
        return self._look().missing.get(name, "")

    def trouble(self) -> str:
        """Return the reason why the owner's file is not used; empty if the file can be read."""
        return self._look().trouble

    def news(self) -> bool:
        """Whether the owner's file or a login's file has changed since the last call; if so, reread them."""
        last, self._told = self._told, self._read_states()
        if last == self._told:
            return False
        with self._lock:
            self._looked = -LOOK_MS
        return True

    def _read_states(self) -> list[object]:
        return [read_stamp(path) for path in (self._path, *self._tokens.values())]

    def problems(self) -> tuple[NodeProblem, ...]:
        """Return the problems of the owner's file and of its sources."""
        found = self._look()
        lines = [found.trouble] if found.trouble else []
        lines += [f"secret {name}: {why}" for name, why in found.missing.items()]
        fix = FIX.replace("this node's secrets.json", str(self._path))
        return tuple(NodeProblem(what=what[:500], fix=fix) for what in lines)

    def _look(self) -> VaultValues:
        with self._lock:
            now = self._clock.mono_ms()
            if now - self._looked < LOOK_MS:
                return self._found
            seen, self._looked = self._read_states(), now
            if seen != self._seen or (self._due and now >= self._due):
                self._found, elsewhere = self._with_tokens(*self._read(bool(seen[0])))
                self._seen, self._due = seen, now + FRESH_MS if elsewhere else 0
            return self._found

    def _with_tokens(self, found: VaultValues, elsewhere: bool) -> tuple[VaultValues, bool]:
        values, missing = dict(found.values), dict(found.missing)
        for name, path in self._tokens.items():
            if os.path.lexists(path) and name not in {**values, **missing}:
                try:
                    values[name] = _read_file(str(path))
                except NoValue as exc:
                    missing[name] = str(exc)
        return VaultValues(values, missing, found.trouble), elsewhere

    def _read(self, there: bool) -> tuple[VaultValues, bool]:
        """Return the file's values, and whether some of them come from other sources."""
        if not there:
            return VaultValues(), False
        try:
            raw = read_secrets(self._path)
        except NoValue as exc:
            return VaultValues(trouble=str(exc)), False
        values, missing = {}, {}
        for name, source in raw.items():
            try:
                values[name] = source if isinstance(source, str) else self._fetch(source)
            except NoValue as exc:
                missing[name] = str(exc)
        return VaultValues(values, missing), not all(isinstance(source, str) for source in raw.values())

    def _fetch(self, source: object) -> str:
        kinds: dict[str, Callable[[Any], str]] = {
            "env": self._read_variable,
            "file": _read_file,
            "command": self._run_command,
            "credential": self._read_credential,
        }
        if not isinstance(source, dict) or len(source) != 1 or not set(source) <= set(kinds):
            raise NoValue(f"it is neither a string nor an object with one of {', '.join(kinds)}")
        ((kind, where),) = source.items()
        value = kinds[kind](where)
        if not value or "\0" in value:
            raise NoValue(f"the source `{kind}` returned no text")
        return value

    def _read_variable(self, name: object) -> str:
        if not isinstance(name, str) or name not in self._environ:
            raise NoValue(f"the node agent's environment has no variable {name!r}")
        return self._environ[name]

    def _read_credential(self, name: object) -> str:
        folder = self._environ.get(CREDENTIALS)
        if not folder:
            raise NoValue("systemd gave the node agent no credentials (LoadCredential= in its unit)")
        if not isinstance(name, str) or "/" in name or name in ("", ".", ".."):
            raise NoValue(f"{name!r} is not the name of a credential")
        return _read_file(f"{folder}/{name}")

    def _run_command(self, argv: object) -> str:
        """Return the command's output. Its error output is not shown, since it might quote the value."""
        if not isinstance(argv, list) or not argv or not all(isinstance(word, str) and word for word in argv):
            raise NoValue("the value of `command` is not a list of strings")
        try:
            done = subprocess.run(
                argv, env=dict(self._environ), stdin=subprocess.DEVNULL, capture_output=True,
                timeout=COMMAND_S, check=False, cwd="/", start_new_session=True,
            )  # fmt: skip
        except subprocess.TimeoutExpired as exc:
            raise NoValue(f"{argv[0]} took more than {COMMAND_S} s") from exc
        except OSError as exc:
            raise NoValue(f"{argv[0]} could not be run: {exc.strerror}") from exc
        if done.returncode:
            raise NoValue(f"{argv[0]} ended with {done.returncode}")
        return _text(done.stdout)


def read_secrets(path: Path) -> dict[str, Any]:
    """Return the owner's file content. Raises NoValue with a syntax error's line, without quoting it."""
    try:
        raw = json.loads(path.read_bytes())
    except json.JSONDecodeError as exc:
        raise NoValue(f"{path} is not valid JSON: line {exc.lineno}, column {exc.colno}: {exc.msg}") from None
    except OSError as exc:
        raise NoValue(f"{path} cannot be read: {exc.strerror}") from exc
    except ValueError as exc:
        raise NoValue(f"{path} is not valid JSON: it is not UTF-8 text") from exc
    if not isinstance(raw, dict):
        raise NoValue(f"{path} is not valid: it must be a JSON object of names and values")
    return raw


def _read_file(path: object) -> str:
    if not isinstance(path, str) or not path.startswith("/"):
        raise NoValue(f"{path!r} must be an absolute path")
    try:
        with open(path, "rb") as file:
            return _text(file.read(MOST_BYTES))
    except OSError as exc:
        raise NoValue(f"{path} cannot be read: {exc.strerror}") from exc


def _text(data: bytes) -> str:
    """Return the text without the final line break of editors and commands. Raises NoValue if not UTF-8."""
    try:
        return data.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise NoValue("it is not UTF-8 text") from exc
