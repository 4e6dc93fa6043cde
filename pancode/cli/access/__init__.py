"""Commands about who may come in over TCP."""
