"""Decides when schedules fire, and what then begins."""
