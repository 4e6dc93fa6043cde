"""Classifies a tool call of OpenCode; a shell command is parsed."""

from __future__ import annotations

from node_agent.runtimes.hooks import REFUSED
from node_agent.runtimes.outcome import tool_table
from node_agent.wire.policy import ActionClass

DENIED = (
    "Model tried to call unavailable tool",
    "The user has specified a rule which prevents",
    "rejected permission",
    REFUSED,
)
"""Texts in the outcome of a denied call."""
OURS = {
    "read": ("read",),
    "grep": ("grep",),
    "glob": ("find", "ls"),
    "list": ("find", "ls"),
    "edit": ("edit", "write"),
    "bash": ("bash",),
}
"""The program's permissions, and our tools to which each corresponds."""

call_of = tool_table(
    "bash",
    {
        ActionClass.FILE_READ: "read grep glob list todowrite todoread skill",
        ActionClass.FILE_WRITE: "edit write patch apply_patch",
        ActionClass.NETWORK: "webfetch websearch",
        ActionClass.DISPATCH: "task",
    },
    "filePath command pattern path url description",
    "filePath path",
)
