"""Decides which notice goes to which channel, in which words, and when."""
