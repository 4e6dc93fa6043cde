"""A conversation at its faces: the stream read into turns, and what a user does in it; clients all."""
