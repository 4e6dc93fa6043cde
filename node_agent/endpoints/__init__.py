"""Model servers that this node reaches: told apart by the shape of their answers, never woken by a look."""

from __future__ import annotations
