"""The program that an agent program runs before each tool call, to check the call against the policy."""

from __future__ import annotations
