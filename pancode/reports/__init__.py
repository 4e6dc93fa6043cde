"""Reports for users: costs, metrics, the audit and the timeline of a run."""
