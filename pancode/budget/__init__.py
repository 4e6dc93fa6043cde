"""Money: the books, limits, costs, and the track record of each agent."""
