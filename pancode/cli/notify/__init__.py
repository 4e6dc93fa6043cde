"""The commands of notices and webhooks."""
