"""The runtime `openai-agents`: OpenAI's Agents SDK as installed by the node's owner, with PanCode's tools."""

from __future__ import annotations
