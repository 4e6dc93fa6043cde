"""Ready scripts, by name: (what it is for, the script)."""

from __future__ import annotations

import copy

USAGE = {"input": 1200, "output": 34, "cache_read": 500}
# Not repetitive: some CLIs stop on text that repeats itself.
HUGE = "".join(f"{i} {i * 2654435761 % 2**32:08x}\n" for i in range(17500))
DONE = {"text": "Done: the work is finished.", "usage": USAGE}


def _tool(kind: str, text: str = "", **args: str) -> dict:
    return {"text": text, "tool": kind, "args": args, "usage": USAGE}


def _one(**turn: object) -> dict:
    """A single answer, also for requests that offer no tools."""
    return {"turns": [{"usage": USAGE, **turn}], "no_tools": "turns"}


PRESETS: dict[str, tuple[str, dict]] = {
    "text": ("one plain answer", _one(text="Hello from the model.")),
    "edit": (
        "reads notes.txt, replaces beta by BETA with the CLI's own tools, says done",
        {
            "turns": [
                _tool("read", path="${cwd}/notes.txt"),
                _tool("edit", "I edit the file.", path="${cwd}/notes.txt", old="beta", new="BETA"),
                DONE,
            ]
        },
    ),
    "write": (
        "creates new.txt, says done",
        {"turns": [_tool("write", path="${cwd}/new.txt", content="hello\n"), DONE]},
    ),
    "shell": (
        "runs a shell command that prints and exits 3, says done",
        {"turns": [_tool("shell", command="echo from-shell; exit 3"), DONE]},
    ),
    "long-shell": (
        "runs a shell command of five minutes",
        {"turns": [_tool("shell", command="python3 -c 'import time; time.sleep(300)'"), DONE]},
    ),
    "refuse": (
        "the model declines (stop reason refusal / content_filter / SAFETY)",
        _one(text="I cannot help with that.", finish="content_filter"),
    ),
    "401": ("every request: wrong key", _one(fault={"status": 401})),
    "429": ("every request: rate limit, retry-after 1 s", _one(fault={"status": 429, "retry_after": 1})),
    "429-once": (
        "the first request is rate limited, then plain text",
        _one(text="Hello from the model.", fault={"status": 429, "retry_after": 1, "times": 1}),
    ),
    "500": ("every request: server error", _one(fault={"status": 500})),
    "stall": ("accepts the request and never answers", _one(fault={"hang": 86400})),
    "slow": (
        "streams two characters per second",
        _one(text="slow answer " * 20, chunk_chars=2, chunk_delay=1.0),
    ),
    "huge": ("256 KiB of text", _one(text=HUGE, chunk_chars=4096)),
    "bad-json": ("status 200 with half a JSON object", _one(fault={"garbage": True})),
    "cut": (
        "the connection drops in the middle of the stream",
        _one(text="half of an answer " * 4, fault={"disconnect": "mid"}),
    ),
    "stream-error": (
        "an error event in the middle of the stream",
        _one(text="half of an answer " * 4, fault={"stream_error": True}),
    ),
    "loop": (
        "asks for the same read forever, never ends",
        {"turns": [_tool("read", path="${cwd}/notes.txt")]},
    ),
}


def preset(name: str) -> dict:
    return copy.deepcopy(PRESETS[name][1])
