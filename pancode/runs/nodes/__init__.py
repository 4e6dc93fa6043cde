"""What the engine hears of its nodes: heartbeats, silence, and what they may keep in Redis."""
