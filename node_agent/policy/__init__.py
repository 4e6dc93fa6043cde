"""Reads rules and commands, and judges commands by rules. Pure."""
