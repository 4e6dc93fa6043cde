"""PanCode's program for a run on an SDK: `python -I -S program.py PACKAGE LIBRARIES SPEC NAME DRIVER`.

It checks and runs every tool call, and reports events in the native worker's format. NAME on PATH leads to
the environment whose Python runs DRIVER, a file in this folder. The driver gets the model's key through a
pipe: the key is in no argument, file or environment, except that of Claude's program, which needs it there.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

if not __package__:
    sys.path[:0] = [os.path.dirname(sys.argv[1]), sys.argv[2]]
    sys.path = list(dict.fromkeys(sys.path))

from node_agent.native.secrecy import hide_memory, wipe_variable
from node_agent.native.tools.shell import CHILDREN

if not __package__:
    hide_memory()  # before anything else is loaded: the environment contains the key

from node_agent.chat.limits import Over
from node_agent.chat.messages import ToolForm
from node_agent.machine.programs import found_environment
from node_agent.native.equipment import Equipment, WorkerHeartbeat, equipment_of, first_words, pause, tell_end
from node_agent.native.fleet import FleetChannel
from node_agent.native.tools.offer import Deeds
from node_agent.runtimes.workerspec import SESSION, WorkerSpec
from node_agent.sdk.host import Host, patience_ms
from node_agent.wire.clock import SystemClock, SystemIds
from node_agent.wire.failure import FailureKind
from node_agent.wire.identity import TurnTerms


def main(argv: list[str]) -> int:
    """Run the program and return its exit status."""
    CHILDREN.end_with_us()
    spec = WorkerSpec.model_validate_json(Path(argv[3]).read_bytes())
    clock, heartbeat = SystemClock(), WorkerHeartbeat(pause)
    equipped = equipment_of(spec, clock, heartbeat.wait)
    host = Host(
        start=lambda: _start_driver(argv[4], argv[5], equipped.env),
        first=_make_first_event(spec, equipped.tools, equipped.system, equipped.guard.answer_tokens),
        deeds=Deeds(
            equipped.box,
            equipped.voice,
            FleetChannel(spec.fleet, equipped.voice, equipped.words, heartbeat.wait),
        ),
        voice=equipped.voice,
        clock=clock,
        limits=equipped.limits,
        model=spec.model,
        heartbeat=heartbeat,
        words=equipped.words.new,
    )
    result, over = "", None
    try:
        host.begin()  # before the first turn: if the driver cannot start, no message is lost
        if spec.interactive_run is None:
            result = host.run(first_words())
        else:
            result, over = _run_interactive(host, equipped, spec.interactive_run)
    except Over as ended:
        over = ended
    host.end(gently=spec.interactive_run is not None)
    return tell_end(equipped.voice, spec, host.deeds, host.turns, result, over)


def _run_interactive(host: Host, equipped: Equipment, terms: TurnTerms) -> tuple[str, Over | None]:
    """Run the turns of an interactive run. Return the last answer, and the reason for the end."""
    from node_agent.native.interactive_run import (
        InteractiveRun,  # imports the receipt and cryptography modules, so load it only if needed
    )

    equipped.box.heartbeat = host.heartbeat
    interactive_run = InteractiveRun(host, equipped.words, terms, host.heartbeat)
    over = interactive_run.run(first_words())
    return interactive_run.answer, over


def _make_first_event(
    spec: WorkerSpec, tools: list[ToolForm], system: str, answer_tokens: int
) -> dict[str, Any]:
    """Return the driver's spec. Moves the key and the server's address from the environment into the spec."""
    env = {name: os.environ[name] for name in spec.hidden if name in os.environ}
    url, key = os.environ.get(spec.url_name, "") or spec.url, os.environ.get(spec.key_name, "")
    for name in spec.hidden:
        wipe_variable(name)
    return {
        "system": system,
        "tools": [{"name": one.name, "words": one.words, "schema": one.schema} for one in tools],
        "model": spec.model,
        "url": f"{url.rstrip('/')}{spec.suffix}",
        "key": key,
        "env": env,
        "turns": spec.turns,
        "patience_ms": patience_ms(spec.desk),
        "newest": spec.newest,
        "thinks": spec.thinks,
        "max_tokens": answer_tokens,
        "file": os.path.join(spec.home, SESSION),
        "resume": spec.resume,
        "talks": spec.interactive_run is not None,
        "fresh": SystemIds().token(8),
        "folder": os.path.join(spec.top, spec.folder),
    }


def _start_driver(name: str, driver: str, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start the driver. Raises Over if the Python environment does not exist."""
    environment = found_environment(name, env.get("PATH", os.defpath))
    if environment is None:
        words = f"no link named {name} on PATH leads into a Python environment; see `pancode agents runtimes`"
        raise Over(FailureKind.RUNTIME_MISSING, words)
    argv = [os.path.join(environment, "bin", "python"), "-I", os.path.join(os.path.dirname(__file__), driver)]
    return CHILDREN.start(
        argv, env=env, start_new_session=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )


if __name__ == "__main__":
    os._exit(main(sys.argv))
