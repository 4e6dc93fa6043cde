"""Commands for nodes and for the coordinator."""
