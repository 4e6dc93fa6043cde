"""Workflow files: how they are read, checked and found, and those that PanCode ships."""
