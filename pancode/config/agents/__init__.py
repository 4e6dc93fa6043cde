"""The files that define agents and presets."""
