"""Commands for scripts and continuous integration."""
