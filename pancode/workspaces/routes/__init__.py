"""The routes of workspaces."""
