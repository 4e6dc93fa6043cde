"""Alembic's view of this folder: where the revisions are and which connection they run on."""

from __future__ import annotations

from pathlib import Path

from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

HERE = Path(__file__).parent
SHIPPED = (HERE / "versions",)
"""The folder of this version's revisions."""


def config(connection: Connection | None = None, folders: tuple[Path, ...] = SHIPPED) -> Config:
    """A configuration without an ini file; env.py runs on `connection`, the revisions come from `folders`."""
    made = Config()
    made.set_main_option("script_location", _escaped(HERE))
    made.set_main_option("version_locations", ":".join(_escaped(folder) for folder in folders))
    made.set_main_option("path_separator", "os")
    made.attributes["connection"] = connection
    return made


def scripts(folders: tuple[Path, ...] = SHIPPED) -> ScriptDirectory:
    """All revisions in `folders`."""
    return ScriptDirectory.from_config(config(None, folders))


def _escaped(folder: Path) -> str:
    return str(folder).replace("%", "%%")
