"""Workflows: plans of steps that need each other are checked, advanced and filled in, without any effect."""
