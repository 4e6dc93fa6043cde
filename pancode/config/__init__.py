"""Configuration: files, variables and flags, folded into one, each value with its origin."""
