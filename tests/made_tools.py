"""A small tool as an agent would make it, for tests: it counts the words of a text."""

from __future__ import annotations

import json

from node_agent.wire.skill import ProposedTool, digest_of, mark_executable, pack_files
from pancode.skills.made_tool_rules import SoundTool, tool_of

NAME = "count-words"
ABOUT = {
    "about": "Counts the words of a text.",
    "input": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
    "seconds": 5,
}
RUN = """#!/bin/sh
sed -e 's/.*"text": *"//' -e 's/"}$//' | wc -w | tr -d ' '
"""
FILES = {
    "tool.json": json.dumps(ABOUT).encode(),
    "run": RUN.encode(),
    "tests/two.in": b'{"text": "a b"}',
    "tests/two.out": b"2\n",
}


def proposal(name: str = NAME, more: dict[str, bytes] | None = None, **changed: bytes | None) -> ProposedTool:
    """`changed`: content by path, with `_` for what a name cannot have; None: without that file."""
    files = {**FILES, **(more or {})}
    for path, data in changed.items():
        real = {"tool_json": "tool.json", "two_out": "tests/two.out", "two_in": "tests/two.in"}.get(
            path, path
        )
        files.pop(real, None)
        files |= {} if data is None else {real: data}
    whole = mark_executable(files)
    return ProposedTool(name=name, digest=digest_of(whole), packed=pack_files(whole))


def made(tool: ProposedTool) -> SoundTool:
    """It, read as a coordinator reads it."""
    return tool_of(tool.name, tool.digest, tool.packed)


def script(name: str = NAME, files: dict[str, bytes] = FILES) -> str:
    """A shell script that proposes it."""
    lines = [f"mkdir -p .pancode/tools/{name}/tests"]
    for path, data in files.items():
        lines.append(f"cat > .pancode/tools/{name}/{path} <<'EOF'\n{data.decode()}\nEOF")
    return "\n".join(lines)
