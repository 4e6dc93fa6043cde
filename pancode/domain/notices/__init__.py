"""Decides who is told of what, in which words, and when."""
