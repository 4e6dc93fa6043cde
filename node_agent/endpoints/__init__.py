"""Model servers that this node reaches: recognised by the shape of their answers, never woken by a probe."""

from __future__ import annotations
