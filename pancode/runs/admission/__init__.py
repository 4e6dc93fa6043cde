"""Whether a request may become a run: ten gates, and what they judge."""
