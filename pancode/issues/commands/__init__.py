"""The commands of issues."""
