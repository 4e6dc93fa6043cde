"""The commands of users."""
