"""Writes the user's configuration files, all comments, into the home; a file that is there is left alone."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from node_agent.wire.rulefile import FILES
from pancode.config.agents import FILE as AGENTS
from pancode.config.agents import shipped_text
from pancode.config.load import FILE as SETTINGS
from pancode.config.presets import FILE as PRESETS
from pancode.connection import unusable

SAFETY = FILES[0]
_HOW = "Take away a # to {}, and that of the line which it is\n# indented below.\n\n"
_HEAD = {
    SETTINGS: "# Your settings: the defaults, commented out. " + _HOW.format("change one"),
    SAFETY: "# Your safety rules; none of them holds yet. " + _HOW.format("have one"),
    PRESETS: "# Your presets, laid over the shipped ones below. " + _HOW.format("change one"),
    AGENTS: "# Your agents, laid over the shipped ones below. " + _HOW.format("change one"),
}
_SOURCE = {
    SETTINGS: "reference.yaml",
    AGENTS: "panagents.yaml",
    SAFETY: "pansafety.yaml",
    PRESETS: "panpresets.yaml",
}


def write_files(home: Path) -> dict[str, Any]:
    """`{"files": [{"path", "written"}]}`. ConfigError when the home cannot be written."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        written = [{"path": str(home / name), "written": _write(home / name)} for name in _SOURCE]
    except OSError as exc:
        raise unusable(home, exc) from exc
    return {"files": written}


def _write(path: Path) -> bool:
    """Whole or not at all, and never over what is there."""
    text = _HEAD[path.name] + _commented(shipped_text(_SOURCE[path.name]))
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.write_text(text)
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        draft.unlink()
    return True


def _commented(text: str) -> str:
    lines = [line if not line.strip() or line.startswith("#") else f"# {line}" for line in text.splitlines()]
    return "\n".join(lines) + "\n"
