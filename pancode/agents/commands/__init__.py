"""Commands that list the choices of a dispatch: agents, runtimes, models, presets."""
