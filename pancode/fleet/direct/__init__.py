"""Nodes that reach Redis and the depot without a tunnel: their certificates, and the port that they share."""
