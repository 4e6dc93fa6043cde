"""Sends a trace of each run that has ended, as a follower of the feed."""
