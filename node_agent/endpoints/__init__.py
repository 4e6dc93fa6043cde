"""Model servers that this node reaches; recognized by the form of their answers, never woken by a probe."""

from __future__ import annotations
