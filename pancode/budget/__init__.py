"""Money: the books, limits, costs, and the record of each agent."""
