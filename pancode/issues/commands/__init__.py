"""The commands for issues."""
