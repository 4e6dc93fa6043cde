"""Starts phases and reports how they ended."""
