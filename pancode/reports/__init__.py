"""What a user reads about costs, figures, the audit and the timeline of a run."""
