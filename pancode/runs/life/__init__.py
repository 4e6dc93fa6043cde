"""The life of a run: signals, and the changes that each signal makes. Pure functions."""
