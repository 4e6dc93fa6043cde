"""The runtime `claude-sdk`: Claude's Agent SDK as installed by the node's owner, with PanCode's tools."""

from __future__ import annotations
