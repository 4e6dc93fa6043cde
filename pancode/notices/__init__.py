"""Tells the world outside: notices, webhooks, traces."""
