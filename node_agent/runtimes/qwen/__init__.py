"""The runtime `qwen`: Qwen Code, headless, with any model server that speaks OpenAI's chat wire."""

from __future__ import annotations
