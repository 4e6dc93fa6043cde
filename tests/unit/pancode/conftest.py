"""Settings from texts: a file of the machine, of the user and of a project."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from pancode.config.load import ConfigPlaces, Loaded, load

Load = Callable[..., Loaded]


@pytest.fixture
def places(tmp_path: Path) -> ConfigPlaces:
    for folder in ("home", "shop", "etc"):
        (tmp_path / folder).mkdir()
    return ConfigPlaces(tmp_path / "home", tmp_path / "shop", tmp_path / "etc" / "pancode.yaml")


@pytest.fixture
def loaded(places: ConfigPlaces) -> Load:
    """Loads with these texts as files of the machine, the user and the project."""

    def _load(
        user: str | None = None,
        project: str | None = None,
        machine: str | None = None,
        environ: Mapping[str, str] | None = None,
        flags: Mapping[str, object] | None = None,
    ) -> Loaded:
        assert places.project is not None
        files = {
            places.machine: machine,
            places.home / "pancode.yaml": user,
            places.project / "pancode.yaml": project,
        }
        for path, text in files.items():
            if text is not None:
                path.write_text(text)
        before = {path: path.read_bytes() for path in files if path.exists()}
        try:
            return load(places, environ or {}, flags)
        finally:
            assert {path: path.read_bytes() for path in files if path.exists()} == before

    return _load
