"""The bodies of requests, and how they are checked."""

from __future__ import annotations
