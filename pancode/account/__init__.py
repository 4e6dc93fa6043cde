"""Costs and track records of runs. Pure."""
