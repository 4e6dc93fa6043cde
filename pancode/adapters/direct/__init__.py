"""Nodes that reach Redis and the depot without a tunnel: who is believed, and the one door to both."""
