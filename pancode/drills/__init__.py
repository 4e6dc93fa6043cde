"""A drill: injects faults into the user's own fleet, and measures how it recovers."""
