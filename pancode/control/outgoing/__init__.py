"""Tells the world outside: notices to people and signed webhooks, each delivered from a durable row."""
