"""The commands of app."""
