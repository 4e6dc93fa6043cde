"""A conversation in the clients' interfaces: its stream parsed into turns, and the user's actions."""
