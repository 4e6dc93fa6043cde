"""What a user reads of cost, figures, the audit and the timeline of a run."""
