"""The commands of memory."""
