"""Lands results on branches and in files: the queue, cross-checks, reviews, pull requests."""
