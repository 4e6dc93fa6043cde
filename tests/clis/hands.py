"""What each real program calls its tools: how a scripted model writes, reads and runs a command in it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Turn = dict[str, Any]


def call(name: str, **arguments: object) -> Turn:
    """A turn of the scripted model: it calls this tool, offered or not."""
    return {"call": {"name": name, "arguments": arguments}}


@dataclass(frozen=True)
class Hands:
    """A turn of the scripted model for each. `write`: path and text."""

    write: Callable[[str, str], Turn]
    read: Callable[[str], Turn]
    shell: Callable[[str], Turn]


def _patched(path: str, text: str) -> Turn:
    """With whatever it has for that, which is a patch."""
    return {"tool": "write", "args": {"path": path, "content": text}}


HANDS = {
    "claude": Hands(
        lambda path, text: call("Write", file_path=path, content=text),
        lambda path: call("Read", file_path=path),
        lambda line: call("Bash", command=line, description="p"),
    ),
    "claude-sdk": Hands(
        lambda path, text: call("mcp__pancode__write", path=path, content=text),
        lambda path: call("mcp__pancode__read", path=path),
        lambda line: call("mcp__pancode__bash", command=line),
    ),
    "codex": Hands(
        _patched,
        lambda path: {"tool": "read", "args": {"path": path}},
        lambda line: call(
            "exec_command", cmd=line, yield_time_ms=30_000
        ),  # its most; else it continues alone
    ),
    "copilot": Hands(
        lambda path, text: call("create", path=path, file_text=text),
        lambda path: call("view", path=path),
        lambda line: call("bash", command=line, description="p"),
    ),
    "gemini": Hands(
        lambda path, text: call("write_file", file_path=path, content=text),
        lambda path: call("read_file", file_path=path),
        lambda line: call("run_shell_command", command=line, description="p"),
    ),
    "native": Hands(
        lambda path, text: call("write", path=path, content=text),
        lambda path: call("read", path=path),
        lambda line: call("bash", command=line),
    ),
    "openai-agents": Hands(
        lambda path, text: call("write", path=path, content=text),
        lambda path: call("read", path=path),
        lambda line: call("bash", command=line),
    ),
    "opencode": Hands(
        lambda path, text: call("write", filePath=path, content=text),
        lambda path: call("read", filePath=path),
        lambda line: call("bash", command=line, description="p"),
    ),
}
