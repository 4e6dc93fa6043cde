"""From a request for work to a run that waits, and to its node."""
