"""Sealed copies of the coordinator's home on the owner's nodes, and how a fleet is restored from one."""
