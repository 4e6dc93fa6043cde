"""The engine's view of its nodes: heartbeats, silence, and limits in Redis."""
