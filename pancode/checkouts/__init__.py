"""Checkouts on clients' machines, and their copies on the coordinator's machine."""
