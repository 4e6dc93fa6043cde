"""The real llama.cpp server on a tiny model that is written here.  See README.md."""

from __future__ import annotations

from .client import Tiny, call, tiny_server

__all__ = ["Tiny", "call", "tiny_server"]
