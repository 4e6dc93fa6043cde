"""The terminal console: screens, keys and a reader of the API; it holds no state of the fleet."""
