"""The runtime `claude-sdk`: Claude's Agent SDK as the node's owner has it, with tools of ours."""

from __future__ import annotations
