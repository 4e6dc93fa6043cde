"""Requests pull requests from forges: one HTTP client, and a small module per API dialect."""
