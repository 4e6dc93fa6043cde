"""The tools of the MCP server for sessions: list them, send a message, read the conversation."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from itertools import groupby
from typing import Any

from pancode.conversation.model import HeardMessage, Output, Part, Said, SessionTalk, TalkCall, TalkNote, Turn
from pancode.interfaces.client.client import path_of
from pancode.interfaces.client.session import WAITING
from pancode.interfaces.http.access.rights import ANSWERS
from pancode.interfaces.mcp.tool import (
    LOOK_S,
    ROWS,
    RUN,
    WAIT_MOST_S,
    Json,
    McpTool,
    McpToolCall,
    integer_schema,
    string_schema,
)

READ_BYTES, SAID_CHARS = 20_000, 40_000
"""The most bytes of a session's output, and the most characters of one turn, that one answer contains."""
MOST_LINE = 1 << 20
"""The most bytes of an output line; longer lines are left out."""
_SHOWN = ("session", "state", "reason", "run", "node", "agent", "model", "title", "asks", "changed_at")


def _list_sessions(call: McpToolCall) -> Any:
    limit = min(int(call.given.get("limit", 20)), ROWS)
    return {
        "sessions": [
            _describe_session(one) for one in call.client.get("/v1/sessions", limit=limit)["sessions"]
        ]
    }


def _describe_session(shape: Json) -> Json:
    return {**{name: shape[name] for name in _SHOWN}, "cost_usd": shape["usage"]["cost_usd"]}


def _say(call: McpToolCall) -> Any:
    """Send a message. With `seconds`, wait that long for the turn and also return its output so far."""
    path, body = path_of("sessions", call.text("run"), "words"), {"by": call.by, "text": call.text("text")}
    if call.given.get("key"):
        answer = call.client.post(path, body, key=call.text("key"))
    else:
        answer = call.words[call.text("run")].post(call.client, path, body)
    run, shape = str(answer["run"]), call.client.get(path_of("sessions", answer["run"]))
    for waited in range(min(int(call.given.get("seconds", 0)), WAIT_MOST_S)):
        if shape["state"] in WAITING and not shape["goes_on"]:
            break
        call.progress.report(waited, str(shape["state"]))
        call.progress.wait(LOOK_S)
        shape = call.client.get(path_of("sessions", run))
    payload: Json = {
        "run": run,
        "how": answer["how"],
        "warnings": answer["warnings"],
        **_describe_session(shape),
    }
    if not call.given.get("seconds"):
        return {**payload, "next": f"call session_read with run {run} until its state waits for a user"}
    turn: list[Json] = []
    end = f"{run}:0"
    for mark, _, parts in _read_lines(call, run, end, shape["runtime"]):
        end = mark
        for part in parts:
            turn = [] if isinstance(part, HeardMessage) and part.begins else turn
            _tell(turn, part)
    while len(turn) > 1 and sum(len(json.dumps(one)) for one in turn) > SAID_CHARS:
        turn.pop(0)
    return {**payload, "turn": turn, "since": end}


def _read(call: McpToolCall) -> Any:
    """Return the conversation since `since`, and the value of `since` for the next call."""
    since = mark = str(call.given.get("since", ""))
    lines: list[Json] = []
    path = path_of("sessions", call.text("run"))
    shape = call.client.get(path)
    for mark, size, parts in _read_lines(call, call.text("run"), since, shape["runtime"]):
        for part in parts:
            _tell(lines, part)
        if size > READ_BYTES:
            return {"told": lines, "since": mark, "more": True}
    shape = call.client.get(path)
    return {"told": lines, "since": mark, "more": False, **_describe_session(shape)}


def _read_lines(
    call: McpToolCall, run: str, since: str, runtime: str
) -> Iterator[tuple[str, int, list[Part]]]:
    """Yield for each line of the stored output: where it ends (`RUN:BYTE`), how many bytes were read up to
    there, and the parts of the conversation that the line adds."""
    talk, read = SessionTalk(MOST_LINE), 0
    path = path_of("sessions", run, "stream")
    for happened in call.client.events("GET", path, query={"since": since or None}):
        if happened.kind != "log":
            return
        line, data = happened.data, base64.b64decode(happened.data["b64"])
        read += len(data)
        found = talk.feed(line["run"], line["attempt"], data, runtime)
        for behind, parts in groupby(found, key=lambda part: talk.behind):
            yield f"{line['run']}:{line['next'] - behind}", read - behind, list(parts)
        yield f"{line['run']}:{line['next'] - talk.behind}", read - talk.behind, []


def _tell(lines: list[Json], part: Part) -> None:
    """Add a part of the conversation as an entry of the answer; pieces of one text go into one entry."""
    match part:
        case HeardMessage(text=text) if text:
            lines.append({"fleet" if part.is_fleets else "person": part.by, "said": text})
        case Said(text=text) | Output(text=text):
            if not lines or "agent" not in lines[-1]:
                lines.append({"agent": ""})
            lines[-1]["agent"] += text
        case TalkCall(state="running"):
            lines.append({"call": part.tool, "about": part.about})
        case TalkCall(state="denied", why=why):
            lines.append({"denied": why})
        case Turn():
            lines.append({"turn_ended": part.stop, "why": part.why})
        case TalkNote(kind="rests", why=why):
            lines.append({"rests": why})


SESSION_TOOLS: tuple[McpTool, ...] = (
    McpTool(
        "sessions",
        "The newest sessions: agents that users talk with, their state, and their questions.",
        "GET /v1/sessions",
        {"limit": integer_schema("how many", ROWS)},
        do=_list_sessions,
        group="sessions",
    ),
    McpTool(
        "session_read",
        "The conversation of a session since a position, with tool calls; continue at the returned position.",
        "GET /v1/sessions/{run}/stream",
        {"run": RUN, "since": string_schema("`since` of an earlier answer; default: from the beginning")},
        do=_read,
        group="sessions",
    ),
    McpTool(
        "say",
        "A message of the user for the agent of a session: it begins the next turn, joins the current turn, "
        "or begins the next interactive run. With seconds the call waits for the end of the turn, at most "
        f"{WAIT_MOST_S} s, and the answer contains the turn.",
        "POST /v1/sessions/{run}/words",
        {
            "run": RUN,
            "text": string_schema("the words"),
            "seconds": integer_schema("how long to wait for the answer", WAIT_MOST_S),
            "key": string_schema(
                "a new UUID; the same call again with the same key does not send the message twice"
            ),
        },
        ("text",),
        do=_say,
        right=ANSWERS,
        group="sessions",
    ),
)
