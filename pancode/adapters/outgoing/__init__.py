"""Sends what is told to the world outside: notices through Apprise, webhooks by HTTP."""
