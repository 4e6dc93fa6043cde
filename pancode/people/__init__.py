"""What waits for a user, and the answers."""
