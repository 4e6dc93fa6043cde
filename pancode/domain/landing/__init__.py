"""Landings: the queue of each repository, the way a change is landed, and how a landing ends."""
