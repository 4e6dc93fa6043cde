"""A scripted model server for tests of coding-agent CLIs.  See README.md."""

from __future__ import annotations

from .presets import PRESETS, preset
from .script import Script, ScriptError
from .server import FakeModel

__all__ = ["FakeModel", "PRESETS", "Script", "ScriptError", "preset"]
