"""The routes of agents."""
