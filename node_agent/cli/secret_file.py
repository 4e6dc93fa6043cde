"""Writes one value into the owner's `secrets.json`, mode 0600, and checks whether runs will get it."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

from node_agent.files.durable import write_atomic
from node_agent.vault.vault import MOST_BYTES, NoValue, read_secrets

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def set_secret(path: Path, name: str, given: bytes) -> str:
    """The change, in words. NoValue for a name or value that cannot be one, or a file that is broken.

    The line end that `echo` and editors put behind a value is dropped; the other values stay as they are.
    """
    value, path = _value_of(name, given), Path(os.path.realpath(path))
    stored = read_secrets(path) if path.exists() else {}
    before = stored.get(name)
    text = json.dumps({**stored, name: value}, indent=2, ensure_ascii=False)
    write_atomic(path, f"{text}\n".encode())
    path.chmod(0o600)
    if read_secrets(path).get(name) != value:
        raise NoValue(f"{path} does not hold {name}: another program has written it at the same moment")
    done = "set" if before is None else "unchanged" if before == value else "replaced"
    return f"{name} is {done} in {path} ({len(value)} characters); the next run takes it"


def _value_of(name: str, given: bytes) -> str:
    if not _NAME.fullmatch(name):
        raise NoValue(
            f"{name!r} is not the name of a secret: letters, digits and _, such as ANTHROPIC_API_KEY"
        )
    try:
        value = given.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError as exc:
        raise NoValue("the value is not a text in UTF-8") from exc
    if not value.strip() or "\0" in value:
        raise NoValue("the value is empty" if not value.strip() else "the value holds a NUL character")
    if len(given) > MOST_BYTES:
        raise NoValue(f"the value is longer than {MOST_BYTES} bytes")
    return value
