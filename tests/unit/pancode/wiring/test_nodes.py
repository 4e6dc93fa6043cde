"""The way to a node survives the ledger, field by field."""

from __future__ import annotations

import json
from pathlib import Path

from pancode.adapters.ssh.hostkey import HostKey
from pancode.adapters.ssh.loopback import make_key
from pancode.adapters.ssh.target import Target
from pancode.domain.records import Node
from pancode.wiring.nodes import Reach, login_for

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


def test_it_survives_the_ledger() -> None:
    hop = Target("jump", "j.lan", 22, "me", identities=("/k",))
    target = Target(
        "gpu", "g.lan", 2222, "me", ("/id",), ("/cert",), True, "/agent", (hop,), ("nc", "%"), "inet6", "::1",
        (("encryption_algs", "+x"),), ("w",), ("i",),
    )  # fmt: skip
    reach = Reach(target, {target.endpoint: HostKey.parse(KEY)}, True, "/h", "/n", 7, "/n/f")
    stored = json.loads(json.dumps(reach.data()))
    assert Reach.of(Node("gpu", 0, stored, {}, 4)) == reach


def test_this_machine_is_reached_with_our_own_key_alone() -> None:
    key = make_key()
    local = login_for(Reach(Target("desk", "127.0.0.1", 1, "me"), local=True), (key,), Path("/home/me"))
    assert (local.own_only, local.keys, local.home) == (True, (key,), None)
    remote = login_for(Reach(Target("gpu", "g", 22, "me")), (), Path("/home/me"))
    assert (remote.own_only, remote.home) == (False, "/home/me")
