"""The client of the coordinator's API."""
