"""Opens pull requests on forges: one HTTP client, and a small module per API dialect."""
