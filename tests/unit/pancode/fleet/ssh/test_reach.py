"""The way to a node survives the ledger, field by field."""

from __future__ import annotations

import json
from dataclasses import fields
from pathlib import Path

from pancode.fleet import inventory
from pancode.fleet.fleet import get_node
from pancode.fleet.place import Reach
from pancode.fleet.ssh.home import make_key
from pancode.fleet.ssh.hostkey import HostKey
from pancode.fleet.ssh.reach import login_for, pins_of, reach_to, target_of
from pancode.fleet.ssh.target import Target
from pancode.kernel.declared import from_json, to_json
from pancode.kernel.records import Node
from tests.unit.pancode.runs.world import Desk

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"


HOP = Target("jump", "j.lan", 22, "me", identities=("/k",))
TARGET = Target(
    "gpu", "g.lan", 2222, "me", ("/id",), ("/cert",), True, "/agent", (HOP,), ("nc", "%"), "inet6", "::1",
    (("encryption_algs", "x"),), ("w",), "gpu-key", ("/hosts",), "/revoked", "new", 3.5, True, ("$X",),
)  # fmt: skip


def test_a_command_connects_with_each_setting_of_the_coordinator() -> None:
    assert not [one.name for one in fields(TARGET) if getattr(TARGET, one.name) in ((), "", None, False)]
    desk = Desk()
    inventory.add(desk.core, Node("gpu", 0, to_json(reach_to(TARGET)), {}, 4))
    answer = json.loads(json.dumps(get_node(desk.core, "gpu")["target"]))
    assert target_of(from_json(Reach, answer)) == TARGET


def test_it_survives_the_ledger() -> None:
    target = TARGET
    said = {"local_home": "/h", "node_home": "/n", "uid": 7, "installed_home": "/n/f"}
    reach = reach_to(target, {target.endpoint: HostKey.parse(KEY)}, local=True, **said)
    stored = json.loads(json.dumps(to_json(reach)))
    read = Reach.of(Node("gpu", 0, stored, {}, 4))
    assert target_of(read) == target and pins_of(read) == {target.endpoint: HostKey.parse(KEY)}
    assert to_json(read) == stored and (read.local, read.uid) == (True, 7)
    assert Reach.of(Node("old", 0, {**stored, "direct": True}, {}, 4)) == read, "a direct node of 0.1.0"


def test_this_machine_is_reached_with_our_own_key_alone() -> None:
    key = make_key()
    local = login_for(reach_to(Target("desk", "127.0.0.1", 1, "me"), local=True), (key,), Path("/home/me"))
    assert (local.own_only, local.keys, local.home) == (True, (key,), None)
    remote = login_for(reach_to(Target("gpu", "g", 22, "me")), (), Path("/home/me"))
    assert (remote.own_only, remote.home) == (False, "/home/me")
