"""The list of tools, and how each is described to a model. Short, for models with little room."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from node_agent.chat.messages import ToolForm
from node_agent.native.tools import files, looking, shell
from node_agent.native.tools.box import Box

Tool = Callable[[Box, Mapping[str, Any]], str]
TABLE: Mapping[str, Tool] = {
    "read": files.read,
    "write": files.write,
    "edit": files.edit,
    "bash": shell.bash,
    "grep": looking.grep,
    "find": looking.find,
    "ls": looking.ls,
}
_TEXT, _COUNT = {"type": "string"}, {"type": "integer", "minimum": 1}
_PATH = {"type": "string", "description": "in the checkout"}


def _form(name: str, words: str, needs: Sequence[str], **properties: dict[str, Any]) -> ToolForm:
    schema = {
        "type": "object",
        "properties": properties,
        "required": list(needs),
        "additionalProperties": False,
    }
    return ToolForm(name, words, schema)


_FORMS = {
    form.name: form
    for form in (
        _form("read", "Read a text file, or `lines` lines of it from line `start` on.", ["path"],
              path=_PATH, start=_COUNT, lines=_COUNT),
        _form("write", "Write a whole file, new or over an old one. Folders are made.", ["path", "content"],
              path=_PATH, content=_TEXT),
        _form("edit", "Replace `old`, which must be in the file exactly once (or `all`: true), by `new`.",
              ["path", "old", "new"], path=_PATH, old=_TEXT, new=_TEXT, all={"type": "boolean"}),
        _form("bash", "Run a command with bash. What it leaves running is ended with it.", ["command"],
              command=_TEXT, timeout_s=_COUNT),
        _form("grep", "Lines that fit a regular expression (RE2), in a file or below a folder; `files`: a "
              "pattern of paths.", ["pattern"], pattern=_TEXT, path=_PATH, files=_TEXT),
        _form("find", "Files whose path fits a pattern such as `*.py` or `src/**/x.c`.", ["pattern"],
              pattern=_TEXT, path=_PATH),
        _form("ls", "What is in a folder.", [], path=_PATH),
    )
}  # fmt: skip


def forms(names: Sequence[str]) -> list[ToolForm]:
    """The forms of these tools, in their own order."""
    return [form for name, form in _FORMS.items() if name in names]
