"""Owns one attempt's processes; the standard library alone."""
