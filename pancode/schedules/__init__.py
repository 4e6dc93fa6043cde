"""Schedules: when they fire, and what work they start."""
