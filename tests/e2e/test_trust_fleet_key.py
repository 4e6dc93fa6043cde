"""The fleet key: put there when asked for, used for the link, limited, and taken out again."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.kept import keep_bundles, lay_out_bundles
from tests.e2e.owner import Owner, until
from tests.e2e.tidy import fingerprint
from tests.lab import Lab

pytestmark = pytest.mark.slow


@pytest.fixture
def owner(lab: Lab, time_factor: float) -> Iterator[Owner]:
    root = Path(tempfile.mkdtemp(prefix="pk-"))
    owner = Owner(root, time_factor)
    owner.know(lab)
    owner.fleet_home.mkdir(mode=0o700)
    lay_out_bundles(owner.fleet_home / "bundles")
    yield owner
    keep_bundles(owner.fleet_home / "bundles")
    owner.down()
    shutil.rmtree(root, ignore_errors=True)


def keys_of(lab: Lab) -> str:
    return lab.run(3, "cat /home/ops/.ssh/authorized_keys").stdout


def test_a_link_comes_back_without_the_users_own_key(owner: Owner, lab: Lab) -> None:
    before = keys_of(lab)
    pin = fingerprint(lab.hosts[3]["host_key"])
    owner.run("node", "add", "node3", "--accept-fingerprint", pin, "--fleet-key").ok()
    owner.run("fleet", "up", "node3", timeout_s=120).ok()
    added = keys_of(lab).replace(before, "")
    assert added.startswith("restrict,port-forwarding ssh-ed25519 ") and "pancode fleet" in added
    owner.run("fleet", "down", "--now").ok()
    (owner.home / ".ssh/config").write_text(
        (owner.home / ".ssh/config").read_text().replace("IdentityFile", "#IdentityFile")
    )
    identity = Path(lab.dir) / "id_ed25519"
    identity.rename(identity.with_suffix(".away"))
    try:
        owner.run("fleet", "up", "node3", timeout_s=120).ok()
        until(lambda: owner.seen("node3") == "online", "the node is online by the fleet key", 30)
    finally:
        identity.with_suffix(".away").rename(identity)
    owner.run("node", "rm", "node3", "--yes", timeout_s=120).ok()
    assert keys_of(lab) == before
