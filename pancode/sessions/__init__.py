"""Sessions: chains of runs that users talk with."""
