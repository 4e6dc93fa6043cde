"""What a drill does with the copies of its fleet."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.backups.commands.drilled_copies import CopiesHere
from pancode.interfaces.client.client import Client, place_of
from pancode.kernel.errors import ConfigError


def test_a_scratch_home_that_cannot_be_removed_is_named(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    client = Client(place_of({"PANCODE_HOME": str(tmp_path), "HOME": str(tmp_path)}), starts=False)
    copies = CopiesHere(client, scratch, {}, None)
    scratch.write_text("not a folder")
    with pytest.raises(ConfigError, match="cannot remove") as told:
        copies.clear()
    assert told.value.fix == f"rm -rf {scratch}"
    scratch.unlink()
    copies.clear()
