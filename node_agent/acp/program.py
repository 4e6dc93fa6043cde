"""PanCode's program for an interactive run with another agent: `python -I -S program.py PACKAGE LIBRARIES
SPEC WAY`.

It reads the first message from standard input, starts the agent program, and speaks ACP with it through
pipes. It writes events in the native worker's format, and judges the agent's permission requests; users'
messages, cancelled turns and suspension work as in the native worker.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

if not __package__:
    sys.path[:0] = [os.path.dirname(sys.argv[1]), sys.argv[2]]
    sys.path = list(dict.fromkeys(sys.path))

from node_agent.native.secrecy import hide_memory
from node_agent.native.tools.shell import CHILDREN

if not __package__:
    hide_memory()  # This runs before other modules are loaded, as the key is in the environment.

from node_agent.acp.conversation import AcpConversation
from node_agent.acp.fleet import FleetServer
from node_agent.chat.limits import Over
from node_agent.native.equipment import Equipment, WorkerHeartbeat, equipment_of, first_words, pause, tell_end
from node_agent.native.fleet import FleetChannel
from node_agent.native.interactive_run import InteractiveRun
from node_agent.native.tools.offer import Deeds
from node_agent.runtimes.acp import AcpWay
from node_agent.runtimes.workerspec import WorkerSpec
from node_agent.wire.clock import Clock, SystemClock


def main(argv: list[str]) -> int:
    """Run the program; return its exit status."""
    CHILDREN.end_with_us()
    spec = WorkerSpec.model_validate_json(Path(argv[3]).read_bytes())
    way = AcpWay.model_validate_json(Path(argv[4]).read_bytes())
    assert spec.interactive_run is not None, "a run without turns is headless"
    clock, heartbeat = SystemClock(), WorkerHeartbeat(pause)
    equipped = equipment_of(spec, clock, heartbeat.wait)
    talk = AcpConversation(
        way=way,
        env=os.environ,
        folder=os.path.join(spec.top, spec.folder).rstrip("/"),
        model=spec.model,
        session=spec.resume,
        voice=equipped.voice,
        clock=clock,
        limits=equipped.limits,
        deeds=Deeds(equipped.box, equipped.voice),
        heartbeat=heartbeat,
        fleet=_make_fleet_server(spec, equipped, clock, heartbeat),
        home=spec.home,
    )
    interactive_run, over = InteractiveRun(talk, equipped.words, spec.interactive_run, heartbeat), None
    try:
        # The program is started before the first turn, so that no message is lost if it cannot start.
        talk.begin()
        over = interactive_run.run(first_words())
    except Over as ended:
        over = ended
    talk.end(gently=True)
    if talk.fleet is not None:
        talk.fleet.close()
    return tell_end(equipped.voice, spec, talk.deeds, talk.turns, interactive_run.answer, over)


def _make_fleet_server(
    spec: WorkerSpec, equipped: Equipment, clock: Clock, heartbeat: WorkerHeartbeat
) -> FleetServer | None:
    """Return the server of the fleet's tools; None if the run is not an orchestrator."""
    if spec.fleet is None:
        return None
    channel = FleetChannel(spec.fleet, equipped.voice, equipped.words, heartbeat.wait)
    return FleetServer(spec.fleet, channel, spec.home, clock)


if __name__ == "__main__":
    os._exit(main(sys.argv))
