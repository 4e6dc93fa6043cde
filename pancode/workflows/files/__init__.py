"""Workflow files: reading, checking and finding them, and the shipped ones."""
