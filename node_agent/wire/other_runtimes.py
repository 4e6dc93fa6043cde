"""Names of runtimes outside the table: programs of a node owner's own choice, and removed runtimes."""

from __future__ import annotations

import re
from collections.abc import Mapping

OTHER = "acp:"
"""The prefix of the runtimes that are programs of a node owner's own choice; they use the ACP protocol."""
REMOVED_RUNTIMES: Mapping[str, str] = {
    "qwen": "in a chat: acp:qwen, after the node's owner has named it in ceiling.json; otherwise: opencode"
}
"""Runtimes that were removed, and their replacements. Stored runs and older nodes still name them."""
OTHER_HELD = "command rules apply only where it asks before it acts; only the sandbox enforces the rest"
"""For users: a program of the owner's choice may ask about every command, or only about dangerous ones."""
OTHERS = r"^[a-z0-9][a-z0-9._-]{0,60}$"
"""The pattern of the name of a program of the owner's choice, after the prefix."""


def is_other(runtime: str) -> bool:
    """Whether the runtime is a program of a node owner's own choice."""
    return runtime.startswith(OTHER) and re.fullmatch(OTHERS, runtime.removeprefix(OTHER)) is not None
