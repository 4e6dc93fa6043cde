"""Workflow files: reads, checks and finds them; contains the shipped ones."""
