"""The runtime `openai-agents`: OpenAI's Agents SDK as the node's owner has it, with tools of ours."""

from __future__ import annotations
