"""The Redis server itself: our own embedded Valkey, or a checked external one."""
