"""Decisions: no await, no IO, no clock; `now` is an argument."""
