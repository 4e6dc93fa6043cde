"""Classifies a tool call of the Gemini CLI; a shell command is parsed."""

from __future__ import annotations

from node_agent.runtimes.outcome import tool_table
from node_agent.wire.policy import ActionClass

OURS = {
    "read_file": ("read",),
    "read_many_files": ("read",),
    "grep_search": ("grep",),
    "glob": ("find", "ls"),
    "list_directory": ("find", "ls"),
    "replace": ("edit",),
    "write_file": ("write",),
    "run_shell_command": ("bash",),
}
"""The program's tools, and our tools to which each corresponds."""

call_of = tool_table(
    "run_shell_command",
    {
        ActionClass.FILE_READ: "read_file read_many_files list_directory grep_search glob "
        "update_topic write_todos read_background_output activate_skill",
        ActionClass.FILE_WRITE: "replace write_file",
        ActionClass.NETWORK: "web_fetch google_web_search",
        ActionClass.DISPATCH: "invoke_agent",
    },
    "file_path command pattern dir_path path query url",
    "file_path dir_path path",
)
