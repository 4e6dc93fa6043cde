"""Writes the commit into what hatchling builds, so that an installed `pancode --version` can name it."""

from __future__ import annotations

import runpy
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class CommitHook(BuildHookInterface[Any]):
    """An sdist carries the file already: the wheel that is made of it tells the same commit."""

    _made: tempfile.TemporaryDirectory[str] | None = None

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        asked = runpy.run_path(str(root / "pancode" / "commit.py"))
        place = root / "pancode" / asked["WRITTEN"]
        if version != "standard" or place.exists():  # an editable install asks git each time
            return
        self._made = tempfile.TemporaryDirectory(prefix="pancode-commit-")
        file = Path(self._made.name) / asked["WRITTEN"]
        file.write_text(f"{asked['commit_of'](root, place)}\n", encoding="ascii")
        build_data["force_include"][str(file)] = f"pancode/{asked['WRITTEN']}"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._made is not None:
            self._made.cleanup()
