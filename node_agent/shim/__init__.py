"""Owns one attempt's processes; standard library only."""
