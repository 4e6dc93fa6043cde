"""Nodes that reach Redis and the depot without a tunnel: their certificates, and the shared port."""
