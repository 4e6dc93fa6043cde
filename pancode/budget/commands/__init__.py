"""Commands about costs, recent events, and track records of agents."""
