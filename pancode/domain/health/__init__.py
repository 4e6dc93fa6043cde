"""Decides which nodes, agents and providers get no work for a while, after failures."""
