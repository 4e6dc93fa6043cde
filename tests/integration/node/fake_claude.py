"""A program that calls its model as Claude Code does, and does what its task says; for tests of the gateway.

The task is a JSON list: `["ask", model]`, `["print", text]`, `["env", ""]`, `["wait", seconds]`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import NoReturn

USED = {"input_tokens": 0, "cache_read_input_tokens": 0, "output_tokens": 0}


def ask(model: str) -> None:
    """One call; its end is the program's when it fails."""
    body = {"model": model, "stream": False, "messages": [{"role": "user", "content": "hi"}]}
    request = urllib.request.Request(
        os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages",
        json.dumps(body).encode(),
        {"content-type": "application/json", "x-api-key": os.environ.get("ANTHROPIC_API_KEY", "")},
    )
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            usage = json.load(answer)["usage"]
    except urllib.error.HTTPError as exc:
        with exc:
            end(exc.read().decode(), exc.code)
    except OSError as exc:
        end(f"connection failed: {exc}", 0)
    for name in USED:
        USED[name] += usage[name]


def end(words: str, status: int) -> NoReturn:
    """The last event, as the real program writes it."""
    failed = {"is_error": status != 200, "api_error_status": status if status not in (0, 200) else None}
    cost = {"usage": USED, "total_cost_usd": 0.5, "num_turns": 1}
    event = {"type": "result", "subtype": "success", "result": words, "session_id": "s", **failed, **cost}
    if status == 0:
        event["terminal_reason"] = "api_error"
    print(json.dumps(event), flush=True)
    sys.exit(0 if status == 200 else 1)


def spill() -> None:
    """All that it can see of environments: its own as JSON, then those of all processes."""
    print(json.dumps({"own": dict(os.environ)}), flush=True)
    subprocess.run(["sh", "-c", "cat /proc/*/environ 2>/dev/null | tr '\\0' '\\n'"], check=False)


def probed() -> bool:
    """Whether it was only asked who it is."""
    if sys.argv[1:] == ["--version"]:
        print("2.1.328 (Claude Code)")
    elif sys.argv[1:] == ["auth", "status"]:
        print(json.dumps({"loggedIn": bool(os.environ.get("ANTHROPIC_API_KEY"))}))
    else:
        return False
    return True


def main() -> None:
    for act, word in json.loads(sys.stdin.read().partition("\n")[2]):
        match act:
            case "ask":
                ask(word)
            case "print":
                print(word, end="", flush=True)
            case "env":
                spill()
            case "wait":
                time.sleep(float(word))
    end("the last message: " + os.environ.get("LAST_WORDS", "done"), 200)


if __name__ == "__main__" and not probed():
    main()
