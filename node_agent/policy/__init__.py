"""Reads rules and commands, and judges one by the other. Pure."""
