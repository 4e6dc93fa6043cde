"""Errors, ids, rows, states and ports that every package stands on."""
