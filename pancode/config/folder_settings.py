"""Shows the settings of one folder, and removes one that keeps the coordinator from starting."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from pancode.config.agents.presets import VARIABLE
from pancode.config.answers import ChangeAnswer, SettingShape
from pancode.config.changes import AskedChange, ChangeKind, SettingMaker
from pancode.config.load import ConfigPlaces, load
from pancode.config.settings_writer import KeptSettings
from pancode.config.user_environment import FileSurroundings


def settings_here(
    home: Path, cwd: Path, environ: Mapping[str, str]
) -> tuple[list[SettingShape], tuple[str, ...]]:
    """Return (`{"key", "value", "origin"}` of every setting, warnings). ConfigError with file and line."""
    project = FileSurroundings(home, environ).project_of(str(cwd))
    places = ConfigPlaces(home, Path(project) if project is not None else None)
    loaded = load(places, environ, preset=environ.get(VARIABLE, "").strip() or None)
    rows: list[SettingShape] = [
        {"key": key, "value": value, "origin": origin} for key, value, origin in loaded.rows()
    ]
    return rows, loaded.warnings


def unset_here(home: Path, key: str, environ: Mapping[str, str]) -> ChangeAnswer:
    """Do what `POST /v1/config/unset` does, without a coordinator; the next one to start records it."""
    change = AskedChange(ChangeKind.SETTING, key, None)
    return SettingMaker(KeptSettings(home, environ)).make(change, "").shape()
