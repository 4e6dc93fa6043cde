"""Commands for machines and for the coordinator itself."""

from __future__ import annotations
