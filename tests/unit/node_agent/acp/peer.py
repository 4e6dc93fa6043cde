"""A small program that speaks ACP, or something else: `peer.py CASE`."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

CASE = sys.argv[1]
COUNT = os.path.join(os.path.dirname(os.path.abspath(sys.argv[2])), "starts")
"""The file with a character for each start."""
INITIALIZED = {
    "protocolVersion": 1,
    "agentCapabilities": {"loadSession": True},
    "agentInfo": {"version": "7"},
}
OPTIONS = [
    {"optionId": "forever", "kind": "allow_always"},
    {"optionId": "yes", "kind": "allow_once"},
    {"optionId": "no", "kind": "reject_once"},
]

TURNS: list[str] = []
OUTLIVES = """sh -c 'trap "" TERM; echo $$; exec sleep 613' & wait"""
"""A command whose child process outlives it, and tells its number."""


def tell(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def update(what: str, **fields: Any) -> None:
    params = {"sessionId": "s-1", "update": {"sessionUpdate": what, **fields}}
    tell(method="session/update", params=params)


def says(text: str) -> None:
    update("agent_message_chunk", content={"type": "text", "text": text})


def heard() -> dict[str, Any]:
    line = sys.stdin.readline()
    if not line:
        os._exit(0)
    message: dict[str, Any] = json.loads(line)
    return message


def ask(number: str, kind: str, raw: dict[str, Any], path: str = "") -> str:
    """The option that is chosen; empty: none is."""
    call: dict[str, Any] = {"toolCallId": number, "kind": kind, "title": "about it", "rawInput": raw}
    call["locations"] = [{"path": path}] if path else []
    update("tool_call", **call, status="pending")
    tell(id=f"q{number}", method="session/request_permission", params={"toolCall": call, "options": OPTIONS})
    while (answer := heard()).get("id") != f"q{number}":
        pass
    chosen = answer["result"]["outcome"].get("optionId", "")
    if chosen == "yes":
        update("tool_call_update", toolCallId=number, status="completed", rawOutput={"output": "printed"})
    return str(chosen)


def await_cancel() -> None:
    command = None
    if CASE.startswith("commands"):
        command = subprocess.Popen(["sh", "-c", OUTLIVES], stdout=subprocess.PIPE, start_new_session=True)
        assert command.stdout is not None
        says(command.stdout.readline().decode().strip())
    elif CASE == "pending":
        call = {"toolCallId": "1", "kind": "execute", "title": "t", "rawInput": {"command": "l"}}
        update("tool_call", **call, status="pending")
    else:
        says("half")
    while heard().get("method") != "session/cancel" or CASE == "deaf":
        pass
    if command is not None:
        os.killpg(command.pid, signal.SIGTERM)
        command.wait()
    while CASE == "commands-deaf":
        heard()


def of_one_program(words: str) -> dict[str, Any]:
    """What only some programs say at the end of a turn, or in it."""
    TURNS.append(words)
    match CASE:
        case "notices":
            says("Info: asks again" if words == "fail" else "Error: a moment (HTTP 503)")
            says("Error: not let in (HTTP 401)" if words == "fail" else "the answer")
        case "codex":
            error = {"message": "Reconnecting", "additionalDetails": "gave up, last status: 429 Too Many"}
            if words == "fail":
                update("session_info_update", _meta={"codex": {"error": error}})
                update("session_info_update", _meta={"codex": {"threadStatus": {"type": "systemError"}}})
                says("gave up, last status: 429 Too Many")
            else:
                update("session_info_update", _meta={"codex": {"error": error}})
                says("the answer")
        case "plans":
            states = {"look": "completed", "write": "in_progress", "test": "pending"}
            for mode in ("code", "yolo"):
                update("plan", entries=[{"content": c, "status": s} for c, s in states.items()])
                update("current_mode_update", currentModeId=mode)
            says("planned")
        case "keeps":
            says("two\nlines: \u00e4")
            keep("noted", "lines: \u00e4")
            threading.Timer(0.3, keep, ("answer", "two\nlines: \u00e4")).start()
        case "options":
            says(TURNS[0])
        case "offers":
            says(" ".join(TURNS[:-1]))
        case "told-by-call":
            says("the answer")
            tokens = {"inputTokens": 100, "cachedReadTokens": 40, "outputTokens": 10}
            usage = {**tokens, "totalTokens": int(words)}
            update("agent_message_chunk", content={"type": "text", "text": ""}, _meta={"usage": usage})
            return {"usage": None}
        case "quota":
            return {
                "usage": None,
                "_meta": {"quota": {"token_count": {"input_tokens": 7, "output_tokens": 3}}},
            }
        case _:
            return {"usage": {"inputTokens": 10 * len(TURNS), "outputTokens": len(TURNS)}}
    return {}


def turn(number: int, words: str) -> None:
    done: dict[str, Any] = {"stopReason": "end_turn", "usage": {"inputTokens": 5, "outputTokens": 2}}
    match CASE:
        case "permissions":
            folder = os.getcwd()
            tries = [
                ask("1", "execute", {"command": "ls"}),
                ask("2", "execute", {"command": "git push origin main"}),
                ask("3", "execute", {}),
                ask("4", "edit", {}, f"{folder}/new.txt"),
                ask("5", "read", {}, "/etc/passwd"),
                ask("6", "edit", {}, f"{folder}/.git/config"),
                ask("7", "other", {"what": "anything"}),
            ]
            says(" ".join(tries))
        case "serves":
            tell(id="f1", method="fs/read_text_file", params={"path": "/etc/passwd"})
            says(str(heard()["error"]["code"]))
        case "silent-end":
            pass
        case (
            "notices" | "codex" | "sums" | "options" | "offers" | "quota" | "told-by-call" | "plans" | "keeps"
        ):
            done = {**done, **of_one_program(words)}
        case "dies" if started() == 1:
            sys.stderr.write("the stack is deep\nout of luck\n")
            sys.exit(3)
        case "leaves" if started() == 1:
            tell(id=number, result=done)
            sys.exit(0)
        case "deaf" | "mute" | "pending" | "commands" | "commands-deaf":
            await_cancel()
            done["stopReason"] = "cancelled"
        case "refused":
            error = {
                "code": -32603,
                "message": "Internal error",
                "data": {"statusCode": 401, "details": "no key"},
            }
            return tell(id=number, error=error)
        case "declines" | "cuts":
            done["stopReason"] = {"declines": "refusal", "cuts": "max_tokens"}[CASE]
        case "flood":
            sys.stdout.write("x" * (64 << 20))
            sys.stdout.flush()
        case "foreign":
            params = {
                "sessionId": "s-2",
                "update": {"sessionUpdate": "agent_message_chunk", "content": {"text": "x"}},
            }
            tell(method="session/update", params=params)
            says("mine")
        case _:
            says(f"you said {words}")
    tell(id=number, result=done)


def keep(kind: str, text: str) -> None:
    with open(os.path.expanduser("~/kept-s-1"), "a") as kept:
        kept.write(json.dumps({"kind": kind, "text": text}, ensure_ascii=False) + "\n")


def started() -> int:
    return os.path.getsize(COUNT)


def answer(message: dict[str, Any]) -> None:
    number, params = message.get("id"), message.get("params", {})
    match message.get("method"):
        case "initialize":
            version = {"protocolVersion": 2} if CASE == "newer" else {}
            tell(id=number, result={**INITIALIZED, **version})
        case "session/new" if CASE == "login":
            tell(id=number, error={"code": -32000, "message": "Authentication required"})
        case "session/new" if CASE == "options":
            options = [{"id": "agent", "options": [{"value": ""}, {"value": "ours"}]}]
            tell(id=number, result={"sessionId": "s-1", "configOptions": options})
        case "session/new" if CASE == "plans":
            tell(id=number, result={"sessionId": "s-1", "modes": {"availableModes": [{"id": "code"}]}})
        case "session/new" if CASE == "offers":
            modes = {
                "availableModes": [{"id": "yolo"}, {"id": "code"}, {"id": "plan"}],
                "currentModeId": "yolo",
            }
            efforts = [{"name": "all", "options": [{"value": "low"}, {"value": "high"}]}]
            models = [{"value": "m-1"}, {"value": "m-2"}]
            options = [
                {"id": "o1", "category": "thought_level", "options": efforts},
                {"id": "o2", "category": "model", "options": models, "currentValue": "m-1"},
            ]
            tell(id=number, result={"sessionId": "s-1", "modes": modes, "configOptions": options})
        case "session/set_config_option":
            TURNS.append(params["value"])
            tell(id=number, result={})
        case "session/new":
            tell(id=number, result={"sessionId": "s-1", "modes": {"availableModes": [{"id": "default"}]}})
        case "session/load":
            says("what was said before")
            result = (
                {"result": {}} if CASE != "forgets" else {"error": {"code": -32602, "message": "not found"}}
            )
            tell(id=number, **result)
        case "session/set_mode":
            TURNS.append(params["modeId"])
            tell(id=number, result={})
        case "session/prompt":
            turn(int(number or 0), params["prompt"][0]["text"])


def main() -> None:
    with open(COUNT, "a") as file:
        file.write(".")
    match CASE:
        case "usage":
            print("Usage: peer [--help]")
            return
        case "nothing":
            return
        case "complains":
            sys.stderr.write("peer: no such option: acp\n")
            sys.exit(2)
        case "gigabyte":
            while True:
                sys.stdout.write("x" * (1 << 20))
        case "silence":
            while True:
                heard()
    while True:
        answer(heard())


if __name__ == "__main__":
    main()
