"""Sessions: chains of interactive runs in which users talk with an agent."""
