"""The worker as a program: `python -I -S program.py PACKAGE LIBRARIES SPEC`, the task on standard input.

Its stream is a line of JSON for each event: session, said, called, ran, denied, usage, retrying, noted,
compacted, turn, turn_end, asks_fleet, fleet_over, rests, final. It exits with 0 after a final event with
`done`, else with 1; a signal ends it and its running command immediately, without a final event.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

if not __package__:
    sys.path[:0] = [os.path.dirname(sys.argv[1]), sys.argv[2]]
    sys.path = list(dict.fromkeys(sys.path))

from node_agent.native.secrecy import hide_memory, wipe_variable

if not __package__:
    hide_memory()  # before anything else is loaded, because this process's environment contains the key

gc.disable()  # freeze loaded objects, because collecting them repeatedly takes a tenth of a second

from node_agent.chat.client import Model, Server  # noqa: E402
from node_agent.chat.limits import Over  # noqa: E402
from node_agent.chat.messages import Turn, from_json, to_json  # noqa: E402
from node_agent.native.equipment import Equipment, WorkerHeartbeat, equipment_of, first_words, pause, tell_end  # noqa: E402
from node_agent.native.fleet import FleetChannel  # noqa: E402
from node_agent.native.loop import Loop  # noqa: E402
from node_agent.native.tools.shell import CHILDREN  # noqa: E402
from node_agent.native.voice import Voice  # noqa: E402
from node_agent.runtimes.workerspec import SESSION, VERSION, WorkerSpec  # noqa: E402
from node_agent.wire.clock import SystemClock, SystemIds  # noqa: E402
from node_agent.wire.proxies import rename_schemes  # noqa: E402


def main(argv: list[str]) -> int:
    """Run the worker; return its exit status."""
    gc.freeze()
    gc.enable()
    CHILDREN.end_with_us()
    spec = WorkerSpec.model_validate_json(Path(argv[3]).read_bytes())
    clock = SystemClock()
    heartbeat = WorkerHeartbeat(pause)
    equipped = equipment_of(spec, clock, heartbeat.wait)
    url = os.environ.get(spec.url_name, "") or spec.url  # before `_model` overwrites the variable
    # The session's file identifies server and model by a hash, because an address may contain a password. The
    # gateway has another address in each run.
    named = spec.url if spec.through_gateway else url
    server = sha256(f"{named} {spec.model}".encode()).hexdigest()
    session, talk = _load_session(spec, server)
    model = _make_model(spec, url, equipped.voice)
    loop = _make_loop(
        spec, model, clock, equipped, heartbeat, lambda turns: _save(spec, session, turns, server)
    )
    loop.talk += talk
    loop.voice.tell(
        "session",
        session=session,
        model=spec.model,
        version=VERSION,
        context=loop.guard.context,
        context_known=loop.known,
        tools=[one.name for one in loop.tools],
    )
    if spec.interactive_run is None:
        return _run(loop, spec)
    from node_agent.native.interactive_run import (
        InteractiveRun,  # imports the receipt and cryptography, which no other run needs
    )

    model.heartbeat = equipped.box.heartbeat = heartbeat
    interactive_run = InteractiveRun(loop, equipped.words, spec.interactive_run, heartbeat)
    over = interactive_run.run(first_words())
    return tell_end(loop.voice, spec, loop.deeds, loop.turns, interactive_run.answer, over)


def _make_loop(
    spec: WorkerSpec,
    model: Model,
    clock: SystemClock,
    equipped: Equipment,
    heartbeat: WorkerHeartbeat,
    saved: Callable[[list[Turn]], None],
) -> Loop:
    return Loop(
        model=model,
        box=equipped.box,
        guard=equipped.guard,
        voice=equipped.voice,
        clock=clock,
        limits=equipped.limits,
        system=equipped.system,
        tools=equipped.tools,
        wait=heartbeat.wait,
        saved=saved,
        known=spec.context is not None or spec.is_hosted,
        thinks=spec.thinks,
        fleet=FleetChannel(spec.fleet, equipped.voice, equipped.words, heartbeat.wait),
        words=equipped.words.new,
    )


def _make_model(spec: WorkerSpec, url: str, voice: Voice) -> Model:
    """Return the model's client with the key, which is overwritten in this process's visible environment."""
    key = os.environ.get(spec.key_name, "")
    for name in spec.hidden:
        wipe_variable(name)
    os.environ.update(rename_schemes(os.environ))
    server = Server(f"{url.rstrip('/')}{spec.suffix}", key, proxies=True)
    model = Model(spec.model, server, voice.say, SystemIds())
    model.on_thought = voice.think
    model.sampling, model.newest = spec.sampling, spec.newest
    return model


def _load_session(spec: WorkerSpec, server: str) -> tuple[str, list[Turn]]:
    """Return the session to continue, or a new one; an unreadable session counts as none."""
    if spec.resume:
        try:
            session, turns = from_json(Path(spec.home, SESSION).read_bytes(), server)
        except (OSError, ValueError):
            session, turns = "", []
        if session == spec.resume:
            return session, turns
    return SystemIds().token(8), []


def _save(spec: WorkerSpec, session: str, turns: list[Turn], server: str) -> None:
    """Save the session. On a full disk only the session is lost. An interactive run's session survives a
    power failure."""
    file = Path(spec.home, SESSION)
    with contextlib.suppress(OSError):
        with file.with_suffix(".new").open("wb") as new:
            new.write(to_json(session, turns, server))
            if spec.interactive_run is not None:
                new.flush()
                os.fsync(new.fileno())
        file.with_suffix(".new").replace(file)


def _run(loop: Loop, spec: WorkerSpec) -> int:
    try:
        result, ended = loop.run(first_words()), None
    except Over as over:
        result, ended = over.answer, over
    return tell_end(loop.voice, spec, loop.deeds, loop.turns, result, ended)


if __name__ == "__main__":
    os._exit(main(sys.argv))  # nothing must be cleaned up, and a normal exit of the interpreter is slow
