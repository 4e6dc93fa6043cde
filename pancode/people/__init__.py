"""The inbox: what waits for a user, and the user's answers."""
