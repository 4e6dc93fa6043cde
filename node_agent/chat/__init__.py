"""Talks to a model: the conversation as values, a client of OpenAI's chat dialect, and limits for both. A
leaf: it imports only the wire package, and httpx at the first request."""
