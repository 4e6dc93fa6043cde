"""What lies in a node's home."""
