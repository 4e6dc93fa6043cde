"""Asks forges for pull requests: one HTTP client, and a small module for each dialect."""
