"""Tokens of the API over TCP, and one-time codes for a browser."""
