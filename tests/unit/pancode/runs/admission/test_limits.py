"""The limits that a dispatch may say, one by one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from pancode.agents.agents import AgentLimits
from pancode.kernel.declared import to_json
from pancode.kernel.errors import PancodeError
from pancode.runs.admission.resolution import Unresolved, resolve
from pancode.runs.life.jobs import limits_of
from pancode.runs.request import Defaults
from tests.unit.pancode.kernel.fleets import BUILDER, catalogue, node, request, resolved


def problems(**options: Any) -> tuple[PancodeError, ...]:
    found = resolve(request(**options), catalogue(node("desk")))
    assert isinstance(found, Unresolved)
    return found.problems


def test_every_limit_can_be_said_at_a_dispatch() -> None:
    """And goes before what its agent and the fleet say."""
    own = AgentLimits(idle_ms=5, output_bytes=6, tokens=7, turns=8)
    settings = {
        "agents": {"builder": replace(BUILDER, limits=own)},
        "defaults": Defaults(memory_bytes=1 << 30, processes=300, disk_bytes=1 << 33),
    }
    asked = {"idle_timeout_ms": 9, "max_output": 10, "max_tokens": 11, "max_turns": 12}
    machine = {"max_memory": 2 << 30, "max_processes": 400, "max_disk": 2 << 33}
    wire = limits_of(to_json(resolved(settings=settings, **asked, **machine).limits))
    assert (wire.idle_ms, wire.output_bytes, wire.tokens, wire.turns) == (9, 10, 11, 12)
    assert (wire.memory_bytes, wire.processes, wire.disk_bytes) == (2 << 30, 400, 2 << 33)
    child = limits_of(to_json(resolved(settings=settings, depth=1, **machine).limits))
    assert (child.memory_bytes, child.processes) == (1 << 30, 300), "a run raises nothing for its child"
    assert child.disk_bytes == 1 << 33
    child = limits_of(to_json(resolved(settings=settings, depth=1, max_output=10).limits))
    assert child.output_bytes == 6, "nor what it may write to a machine's disk"
    assert (child.idle_ms, child.output_bytes, child.tokens, child.turns) == (5, 6, 7, 8)


def test_limits_that_make_no_sense_are_refused() -> None:
    said = [str(one) for one in problems(runtime="shell", max_turns=3)]
    assert said == ["--max-turns limits model calls, and runtime shell does not make any"]
    assert "--max-tokens limits" in str(problems(runtime="shell", max_tokens=3)[0])
    assert "--max-memory" in str(problems(max_memory=1000)[0])
    assert "--max-processes" in str(problems(max_processes=3)[0])
    assert "--max-disk" in str(problems(max_disk=1000)[0])
    assert "--idle-timeout" in str(problems(idle_timeout_ms=0)[0])
