"""What a person reads of cost, figures, the audit and the story of a run."""
