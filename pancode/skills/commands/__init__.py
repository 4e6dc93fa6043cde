"""The commands of skills."""
