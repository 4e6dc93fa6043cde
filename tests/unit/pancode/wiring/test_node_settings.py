"""What a node's home is told: the owner's other machines are this machine's node's to look at."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

from node_agent.machine.home import NodeSettings
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.signing import SigningKey
from pancode.core.records import Node
from pancode.fleet.ssh.target import Target
from pancode.wiring.bringup import FleetParts, node_settings
from pancode.wiring.home import Home
from pancode.wiring.nodes import reach_to

KEY = SigningKey(b"0123456789abcdef0123456789abcdef")


def told(local: bool, machines: tuple[str, ...]) -> NodeSettings:
    parts = FleetParts(
        core=cast(Any, None),
        home=Home(Path("/h")),
        clock=SystemClock(),
        ids=SystemIds(),
        fleet="f-test",
        slots=4,
        time_factor=1.0,
        machines=lambda: machines,
        user_home=Path("/"),
        direct=cast(Any, None),
    )
    reach = reach_to(Target("desk", "127.0.0.1", 22, "ana"), local=local)
    node = Node("desk", 1, reach.data(), {}, 4, tag=KEY.public.tag)
    return NodeSettings.model_validate(node_settings(parts, node))


def test_this_machine_s_node_and_no_other() -> None:
    assert told(True, ("gpu=10.0.0.5",)).machines == ("gpu=10.0.0.5",)
    assert told(False, ("gpu=10.0.0.5",)).machines == ()
    assert told(True, ()).machines == ()
