"""The files in which agents and presets are defined."""
