"""Writes the user's configuration files into the home and proposes a repository's file; never overwrites."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from node_agent.policy.rulefile import FILES
from pancode.app.repository_proposal import LOOKED_AT, READ, propose_settings
from pancode.config.agents.definitions import FILE as AGENTS
from pancode.config.agents.definitions import shipped_text
from pancode.config.agents.presets import FILE as PRESETS
from pancode.config.load import FILE as SETTINGS
from pancode.interfaces.client.client import unusable_home_error
from pancode.kernel.errors import WorkspaceError
from pancode.kernel.host.files import make_private

SAFETY = FILES[0]
MOST_CHARS = 1 << 20
_HOW = "Remove the # in front of it to {}, and also\n# in front of the line above that it belongs to.\n\n"
_HEAD = {
    SETTINGS: "# Your settings: the defaults, commented out. " + _HOW.format("change one"),
    SAFETY: "# Your safety rules; none of them is active yet. " + _HOW.format("have one"),
    PRESETS: "# Your presets; they override the shipped ones below. " + _HOW.format("change one"),
    AGENTS: "# Your agents; they override the shipped ones below. " + _HOW.format("change one"),
}
_SOURCE = {
    SETTINGS: "reference.yaml",
    AGENTS: "panagents.yaml",
    SAFETY: "pansafety.yaml",
    PRESETS: "panpresets.yaml",
}


def write_files(home: Path) -> dict[str, Any]:
    """Write the missing files; return `{"files": [{"path", "written"}]}`. ConfigError if that fails."""
    try:
        make_private(home)
        written = [{"path": str(home / name), "written": _write(home / name)} for name in _SOURCE]
    except OSError as exc:
        raise unusable_home_error(home, exc) from exc
    return {"files": written}


def find_missing(home: Path) -> list[str]:
    """Return the files that `write_files` would write into an existing home."""
    return [name for name in _SOURCE if home.is_dir() and not (home / name).exists()]


def _write(path: Path) -> bool:
    """Write the whole file or nothing, and never over an existing file; return whether it was written."""
    text = _HEAD[path.name] + _comment_lines(shipped_text(_SOURCE[path.name]))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _comment_lines(text: str) -> str:
    lines = [line if not line.strip() or line.startswith("#") else f"# {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"


def proposed_here(folder: Path, write: Callable[[str, str], bool]) -> dict[str, Any] | None:
    """Return `{"path", "text", "written"}` for the enclosing repository; None if nothing can be proposed.
    `text` is None if the file exists. `write` gets path and text, and decides whether to write."""
    top = next((one for one in (folder, *folder.parents) if (one / ".git").exists()), None)
    if top is None:
        return None
    path = top / SETTINGS
    if path.exists():
        return {"path": str(path), "text": None, "written": False}
    found = propose_settings(
        {name: _read_content(top / name) for name in LOOKED_AT if (top / name).is_file()}
    )
    if not found:
        return None
    proposal = {"path": str(path), "text": found.text(), "written": False}
    if not write(str(path), found.text()):
        return proposal
    try:
        with open(path, "x", encoding="utf-8") as file:
            file.write(found.text())
    except OSError as exc:
        raise WorkspaceError(f"cannot write {path}", why=str(exc), fix="write the file yourself") from exc
    return {**proposal, "written": True}


def _read_content(path: Path) -> str:
    """Return the text of a file whose content matters; "" for files of which only the existence counts."""
    if path.name not in READ:
        return ""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read(MOST_CHARS)
    except OSError:
        return ""
