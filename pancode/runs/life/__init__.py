"""The life of a run: signals, and the changes that each one makes. Pure functions."""
