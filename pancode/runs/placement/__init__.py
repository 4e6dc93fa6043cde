"""Placement: which node takes which run, and when."""
