"""What a node's home is told: the owner's other nodes are this machine's node's to look at."""

from __future__ import annotations

from pathlib import Path

from node_agent.machine.home import NodeSettings
from node_agent.wire.keep import KEEP, KeepBound, NodeKeep
from node_agent.wire.signing import SigningKey
from pancode.config.schema import Settings
from pancode.fleet.ssh.bringup import NodeDefaults, node_settings
from pancode.fleet.ssh.reach import reach_to
from pancode.fleet.ssh.target import Target
from pancode.kernel.declared import to_json
from pancode.kernel.records import Node

KEY = SigningKey(b"0123456789abcdef0123456789abcdef")


def told(local: bool, machines: tuple[str, ...], path: str = "", keep: NodeKeep = KEEP) -> NodeSettings:
    defaults = NodeDefaults(4, 1.0, lambda: machines, Path("/"), keep=keep)
    reach = reach_to(Target("desk", "127.0.0.1", 22, "ana"), local=local)
    node = Node("desk", 1, to_json(reach), {}, 4, tag=KEY.public.tag)
    return NodeSettings.model_validate(node_settings(defaults, "f-test", node, path))


def test_this_machine_s_node_and_no_other() -> None:
    assert told(True, ("gpu=10.0.0.5",)).machines == ("gpu=10.0.0.5",)
    assert told(False, ("gpu=10.0.0.5",)).machines == ()
    assert told(True, ()).machines == ()


def test_the_path_that_a_machines_owner_has_written_stays() -> None:
    assert told(False, (), "/opt/tools/bin:/usr/bin").path == "/opt/tools/bin:/usr/bin"
    assert told(False, ()).path is None


def test_the_bounds_of_what_a_node_keeps_are_those_of_the_settings() -> None:
    chosen = Settings.model_validate({"nodes": {"keep": {"mirrors": "2d", "mirrors_size": "10GiB"}}})
    bounds = chosen.nodes.keep.bounds()
    assert told(False, (), keep=bounds).keep == bounds
    assert bounds.mirrors == KeepBound(age_ms=2 * 86_400_000, size=10 << 30)
    assert (bounds.set_ups, bounds.sessions) == (KEEP.set_ups, KEEP.sessions)
    assert Settings().nodes.keep.bounds() == KEEP and told(False, ()).keep == KEEP
