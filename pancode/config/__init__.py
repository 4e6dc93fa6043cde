"""Configuration: files, variables and flags, merged into one, each value with its origin."""
