"""Nodes as the engine sees them: heartbeats, silence, and limits in Redis."""
