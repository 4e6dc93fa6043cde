"""The runtime `native`: PanCode's worker, for any model server with OpenAI's chat API."""

from __future__ import annotations
