"""The native worker: an agent loop as a separate program. The node agent starts it and never imports it."""

from __future__ import annotations
