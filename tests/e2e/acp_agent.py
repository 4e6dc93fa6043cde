"""A small program that speaks ACP: it asks its model, and asks whether it may write what that says."""

from __future__ import annotations

import json
import os
import sys
import urllib.request
from pathlib import Path
from typing import Any

OPTIONS = [{"optionId": "y", "kind": "allow_once"}, {"optionId": "n", "kind": "reject_once"}]


def tell(**message: Any) -> None:
    sys.stdout.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
    sys.stdout.flush()


def answer() -> str:
    url, key = os.environ["OPENAI_BASE_URL"], os.environ["OPENAI_API_KEY"]
    body = {"model": os.environ["MODEL"], "messages": [{"role": "user", "content": "go"}]}
    head = {"content-type": "application/json", "authorization": f"Bearer {key}"}
    asked = urllib.request.Request(f"{url}/chat/completions", json.dumps(body).encode(), head)
    with urllib.request.urlopen(asked) as told:
        return str(json.load(told)["choices"][0]["message"]["content"])


def write(name: str, text: str) -> str:
    """The option that was chosen."""
    call = {
        "toolCallId": name,
        "kind": "edit",
        "title": name,
        "locations": [{"path": f"{os.getcwd()}/{name}"}],
    }
    tell(id=f"q-{name}", method="session/request_permission", params={"toolCall": call, "options": OPTIONS})
    chosen = str(json.loads(sys.stdin.readline())["result"]["outcome"].get("optionId"))
    if chosen == "y":
        Path(name).write_text(text)
    return chosen


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        number = message.get("id")
        match message.get("method"):
            case "initialize":
                tell(id=number, result={"protocolVersion": 1, "agentInfo": {"version": "0.7"}})
            case "session/new":
                tell(id=number, result={"sessionId": "s"})
            case "session/prompt":
                said = answer()
                told = f"{said} {write('made.txt', said)}{write('.git/config', said)}"
                chunk = {"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": told}}
                tell(method="session/update", params={"sessionId": "s", "update": chunk})
                tell(id=number, result={"stopReason": "end_turn"})


if __name__ == "__main__":
    main()
