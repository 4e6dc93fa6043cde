"""Agents, models, runtimes and prompts: what a run may be given. Pure."""
