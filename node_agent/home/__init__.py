"""The files in a node's home."""
