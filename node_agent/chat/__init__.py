"""Talks with a model: the conversation as values, a client of OpenAI's chat dialect, and limits for both.

A leaf: it imports the wire, and httpx when the first question is asked.
"""
