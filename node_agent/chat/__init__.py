"""Talks to a model: the conversation as values, a client of OpenAI's chat API, and limits for both. Imports
only the wire package, and httpx at the first request."""
