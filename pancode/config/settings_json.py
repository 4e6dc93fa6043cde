"""Reads settings.json in the home, which `config set` writes, and computes its content after a change."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from pancode.config.agents.edit import format_flow
from pancode.config.layers import CHOSEN, Layer, file_layer
from pancode.config.schema import OWN_OF_PROJECT
from pancode.kernel.documents import Document, parse_document, read_document
from pancode.kernel.errors import ConfigError, NotFoundError, UsageError

MOST_TEXT = 64_000
"""Maximum length of one value, in characters."""
_EXAMPLE = "write the value as in pancode.yaml: 15m, true, [a, b], or in quotes"


def read_kept(home: Path) -> Document:
    """Read settings.json, with the line of each key. Raise ConfigError if the file cannot be read."""
    path = home / CHOSEN
    try:
        return read_document(path) or Document(str(path))
    except ConfigError as exc:
        fix = f"correct that line, or move the file away: mv {path} {path}.bad"
        raise ConfigError(str(exc), why=exc.why, fix=fix) from exc


def kept_layer(document: Document) -> Layer:
    """Return the layer. ConfigError for a key that only a repository's pancode.yaml may set."""
    for key in OWN_OF_PROJECT:
        if key in document.data:
            raise ConfigError(
                f"{document.at(key)}: {CHOSEN} must not set {key}",
                why="the key would override the gates and preferences of every repository",
                fix=f"pancode config unset {key}",
            )
    return file_layer(document)


def value_of(key: str, text: str) -> object:
    """Parse a value as in a settings file. Raise UsageError unless the text is exactly one value."""
    if len(text) > MOST_TEXT:
        why = f"the value has {len(text)} characters; the maximum is {MOST_TEXT}"
        raise UsageError(f"the value of {key} is too long", why=why, fix=_EXAMPLE, code="bad_value")
    if not text.strip() or not text.isprintable():
        why = "the value must be one line without control characters"
        raise UsageError(f"{text[:80]!r} is not a valid value", why=why, fix=_EXAMPLE, code="bad_value")
    try:
        read = parse_document(f"value: {text}", "the value").data
    except ConfigError as exc:
        raise UsageError(
            f"{text[:80]!r} is not a valid value", why=exc.why, fix=_EXAMPLE, code="bad_value"
        ) from exc
    return read["value"]


def text_at(document: Document, key: str) -> str | None:
    """Return the key's value in the file, in the form that `value_of` parses; None if it is not set."""
    value: object = document.data
    for step in key.split("."):
        if not isinstance(value, Mapping) or step not in value:
            return None
        value = value[step]
    return format_flow(value)


def remove_key(document: Document, key: str) -> dict[str, object]:
    """Return the data without the key, which may be unknown. NotFoundError if the file does not set it."""
    if not any(known == key for known in document.lines):
        there = ", ".join(list_keys(document.data)) or "nothing"
        fix = "pancode config show --origin"
        raise NotFoundError(f"{CHOSEN} does not set {key[:80]}", why=f"it sets {there}", fix=fix)
    return _remove_key(document.data, key)


def _remove_key(data: Mapping[str, object], key: str) -> dict[str, object]:
    """Return the data without the key and without groups that become empty."""
    first, _, rest = (key, "", "") if key in data else key.partition(".")
    below = data.get(first)
    kept = _remove_key(below, rest) if rest and isinstance(below, Mapping) else {}
    return {name: kept if name == first else value for name, value in data.items() if name != first or kept}


def list_keys(data: Mapping[str, object], path: str = "") -> Iterator[str]:
    """Yield the keys that have a value."""
    for key, value in data.items():
        below = f"{path}.{key}" if path else key
        if isinstance(value, Mapping) and value:
            yield from list_keys(value, below)
        else:
            yield below


def document_of(data: dict[str, object], home: Path) -> tuple[Document, str]:
    """Return the file with this data, and its text. UsageError for a value that cannot be stored."""
    place = str(home / CHOSEN)
    try:
        text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
        document = parse_document(text, place)
    except (TypeError, ConfigError) as exc:
        raise UsageError("the value cannot be stored", why=str(exc), fix=_EXAMPLE, code="bad_value") from exc
    if document.data != data:
        raise UsageError("the value cannot be stored as it is", fix=_EXAMPLE, code="bad_value")
    return document, text
