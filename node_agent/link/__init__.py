"""The node's connection to the coordinator's Redis."""
