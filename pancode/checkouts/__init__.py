"""Checkouts on clients' machines, and their copies where the coordinator runs."""
