"""Work of many runs, and of people."""
