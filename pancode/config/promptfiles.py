"""Finds the prompts that people keep as files: prompts/NAME.md in the home, named by an agent's `prompt`."""

from __future__ import annotations

import os
from pathlib import Path

from pancode.config.documents import bytes_of
from pancode.core.names import not_found
from pancode.errors import ConfigError

FOLDER = "prompts"
SUFFIX = ".md"
MOST_BYTES = 64_000


def prompt_files(home: Path) -> list[Path]:
    """All there are, and their folder: when one of these changes, agents are read again."""
    folder = home / FOLDER
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(SUFFIX))
    except OSError:
        names = []
    return [folder, *(folder / name for name in names)]


def prompt_text(home: Path, name: str, where: str) -> str:
    """The role text of an agent from its file. ConfigError with the place that named it."""
    path = home / FOLDER / f"{name}{SUFFIX}"
    try:
        raw = bytes_of(path, MOST_BYTES)
        text = raw.decode()
    except FileNotFoundError as exc:
        names = [file.stem for file in prompt_files(home)[1:]]
        missing = not_found("prompt", name, names, f"ls {home / FOLDER}")
        fix = f"write it into {path}, or take `prompt` out"
        raise ConfigError(f"{where}: {missing}", why=missing.why, fix=fix) from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{where}: {path} cannot be read", why=str(exc), fix=f"ls -l {path}") from exc
    if not text.strip() or len(raw) > MOST_BYTES:
        size = "is empty" if not text.strip() else f"has more than {MOST_BYTES} bytes"
        raise ConfigError(f"{where}: {path} {size}", fix=f"edit {path}")
    return text
