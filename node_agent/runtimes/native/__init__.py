"""The runtime `native`: our own worker, for any model server with OpenAI's chat API."""

from __future__ import annotations
