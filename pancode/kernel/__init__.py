"""Errors, ids, rows, states and ports that all packages use."""
