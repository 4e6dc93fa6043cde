"""The native worker: an agent loop as a program of its own; the node agent starts it and never imports it."""

from __future__ import annotations
