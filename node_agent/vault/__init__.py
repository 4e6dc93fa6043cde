"""Values that must not leave the node."""
