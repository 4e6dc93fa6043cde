"""What waits for a user, and the user's answers."""
