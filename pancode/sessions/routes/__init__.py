"""The routes of sessions, and the calls of fleet tools, which use the routes of all features."""
