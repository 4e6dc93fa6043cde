"""Which node takes which run, and when."""
