"""What the doctor says where the coordinator answers with a problem."""

from __future__ import annotations

from pathlib import Path

import pytest

from pancode.app.doctor import _check_key, check_disks
from pancode.fleet.ssh.home import Home
from pancode.interfaces.cli.output import internal_error
from pancode.kernel.errors import ConfigError


def test_a_short_disk_of_a_node_is_named_with_what_fills_it() -> None:
    roomy = {"name": "desk", "disk_free": 80 << 30, "disk_most": None}
    short = {"name": "gpubox", "disk_free": 900 << 20, "disk_most": {"what": "mirrors", "bytes": 40 << 30}}
    assert check_disks(None)["ok"] and check_disks({"nodes": [roomy]})["ok"]
    told = check_disks({"nodes": [roomy, short]})
    assert (told["ok"], told["detail"]) == (False, "gpubox: free 900 M, mirrors 40 G")


def test_a_key_that_cannot_be_read_is_no_good_key(tmp_path: Path) -> None:
    key = tmp_path / "key/coordinator.key"
    key.mkdir(parents=True, mode=0o700)  # root, too, cannot read a folder as a file
    told = _check_key(tmp_path)
    assert not told["ok"] and "cannot be read" in told["detail"] and str(key) in told["fix"]
    with pytest.raises(OSError) as refused:
        Home(tmp_path).signing_key()
    error = internal_error(refused.value)
    assert isinstance(error, ConfigError) and str(error) == f"cannot use {key}" and error.fix
    assert "internal error" in str(internal_error(OSError("no file is named")))
    key.rmdir()
    key.write_text("not a key")
    key.chmod(0o600)
    told = _check_key(tmp_path)
    assert not told["ok"] and "is damaged" in told["detail"]
