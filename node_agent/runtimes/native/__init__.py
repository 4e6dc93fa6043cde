"""The runtime `native`: a worker of our own, on any model server that speaks OpenAI's chat wire."""

from __future__ import annotations
