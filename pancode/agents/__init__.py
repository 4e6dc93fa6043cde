"""Agents, models, runtimes and prompts: the choices of a run. No I/O."""
