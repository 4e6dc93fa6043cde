"""The coordinator's process and its sockets."""

from __future__ import annotations
