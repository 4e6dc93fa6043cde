"""Landings with git: merges changes, shows them, and writes them to files and branches."""
