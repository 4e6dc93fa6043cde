"""Facts about this node's computer and its programs."""
