"""Results into branches and files: the queue, cross-checks, reviews, pull requests."""
