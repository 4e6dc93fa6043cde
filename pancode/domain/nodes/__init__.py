"""Machines: their state, their address, their facts for people."""

from __future__ import annotations
