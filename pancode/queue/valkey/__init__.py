"""The Redis server itself: PanCode's embedded Valkey, or a checked external server."""
