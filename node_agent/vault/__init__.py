"""Secrets that must not leave the node."""
