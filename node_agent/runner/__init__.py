"""Starts phases and says what became of them."""
