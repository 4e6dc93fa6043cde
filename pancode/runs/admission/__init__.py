"""Whether a request may become a run: ten gates, and the facts that they judge."""
