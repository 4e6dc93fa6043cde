"""Reads rules and commands, and checks commands against rules. Pure."""
