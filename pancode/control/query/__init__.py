"""What the coordinator answers: reading, never changing."""
