"""The commands of workspaces."""
