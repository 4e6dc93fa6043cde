"""Circuit breakers: use cases."""
