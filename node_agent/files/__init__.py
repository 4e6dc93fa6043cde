"""Writes files that are complete or absent, and walks folders of any depth."""
