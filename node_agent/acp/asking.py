"""Tests whether a program speaks ACP: `python -I -S asking.py PACKAGE LIBRARIES PROGRAM ARGUMENT...`. Prints
one line of JSON with the program's version, or the reason why PanCode cannot use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

if not __package__:
    sys.path[:0] = [os.path.dirname(sys.argv[1]), sys.argv[2]]
    sys.path = list(dict.fromkeys(sys.path))

from node_agent.acp.conversation import ABLE, NO_METHOD, VERSION, list_resume_methods
from node_agent.acp.pipe import AcpPipe, Broken, Message
from node_agent.native.tools.shell import CHILDREN
from node_agent.runtimes.lines import dict_of, text_of
from node_agent.runtimes.others import ANSWERS_S
from node_agent.wire.clock import Clock, SystemClock

MOST_WHY = 400


def probe_program(argv: tuple[str, ...], clock: Clock, limit_s: int = ANSWERS_S) -> dict[str, object]:
    """Return `version` and whether it `resumes` sessions, or `why` it is unusable and if it is `missing`."""
    if not argv:
        return {"why": "the program's entry in ceiling.json does not name a program: add an `argv`"}
    name = os.path.basename(argv[0])
    try:
        process = CHILDREN.start(
            argv, cwd="/", env=dict(os.environ), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, start_new_session=True, bufsize=0,
        )  # fmt: skip
    except OSError as exc:
        return {"why": f"{argv[0]} could not be started: {exc.strerror}", "missing": True}
    pipe = AcpPipe(process, name, clock)
    try:
        pipe.send({"id": 1, "method": "initialize", "params": _GREETING})
        until = clock.mono_ms() + limit_s * 1000
        while (left := until - clock.mono_ms()) > 0:
            message = pipe.receive(left / 1000)
            if message is not None and message.get("id") == 1 and "method" not in message:
                return _judge_answer(name, message)
            if message is not None and "id" in message and "method" in message:
                pipe.send({"id": message["id"], "error": {"code": NO_METHOD, "message": "method not found"}})
    except Broken as exc:
        return {"why": str(exc)[:MOST_WHY]}
    finally:
        pipe.end()
    return {"why": f"{name} did not answer `initialize` within {limit_s} s"}


_GREETING = {"protocolVersion": VERSION, "clientCapabilities": ABLE}


def _judge_answer(name: str, message: Message) -> dict[str, object]:
    if "error" in message:
        words = text_of(dict_of(message["error"]).get("message"), "an error without a message")
        return {"why": f"{name} refused `initialize`: {words}"[:MOST_WHY]}
    able = dict_of(message.get("result"))
    version = able.get("protocolVersion")
    if version != VERSION:
        return {"why": f"{name} speaks version {version!r} of ACP, and PanCode speaks {VERSION}"[:MOST_WHY]}
    version = text_of(dict_of(able.get("agentInfo")).get("version"))[:100]
    return {"version": version, "resumes": bool(list_resume_methods(dict_of(able.get("agentCapabilities"))))}


def main(argv: list[str]) -> int:
    """Print the result of the test; return exit status 0 in all cases, as there always is a result."""
    CHILDREN.end_with_us()
    sys.stdout.write(json.dumps(probe_program(tuple(argv[3:]), SystemClock())) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))
