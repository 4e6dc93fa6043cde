"""Schedules: what fires when, and what it begins."""
