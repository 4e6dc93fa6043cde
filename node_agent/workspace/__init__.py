"""Code on a node: a mirror per repository, a checkout per attempt, the result commit built from its files."""
