"""Answers questions of faces: reads, and never changes anything."""
