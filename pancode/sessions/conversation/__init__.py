"""A conversation at its faces: the stream read into turns, and what a person does in it; clients all."""
