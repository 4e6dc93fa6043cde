"""Sessions: chains of runs that people talk with."""
