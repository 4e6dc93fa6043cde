"""The commands with which users answer runs."""
