"""What a node's home is told: the owner's other machines are this machine's node's to look at."""

from __future__ import annotations

from pathlib import Path

from node_agent.machine.home import NodeSettings
from node_agent.wire.signing import SigningKey
from pancode.core.records import Node
from pancode.fleet.ssh.bringup import NodeDefaults, node_settings
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target

KEY = SigningKey(b"0123456789abcdef0123456789abcdef")


def told(local: bool, machines: tuple[str, ...], path: str = "") -> NodeSettings:
    defaults = NodeDefaults(4, 1.0, lambda: machines, Path("/"))
    reach = reach_to(Target("desk", "127.0.0.1", 22, "ana"), local=local)
    node = Node("desk", 1, reach.data(), {}, 4, tag=KEY.public.tag)
    return NodeSettings.model_validate(node_settings(defaults, "f-test", node, path))


def test_this_machine_s_node_and_no_other() -> None:
    assert told(True, ("gpu=10.0.0.5",)).machines == ("gpu=10.0.0.5",)
    assert told(False, ("gpu=10.0.0.5",)).machines == ()
    assert told(True, ()).machines == ()


def test_the_path_that_a_machines_owner_has_written_stays() -> None:
    assert told(False, (), "/opt/tools/bin:/usr/bin").path == "/opt/tools/bin:/usr/bin"
    assert told(False, ()).path is None
