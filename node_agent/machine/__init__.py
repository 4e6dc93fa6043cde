"""Facts about this machine and its programs."""
