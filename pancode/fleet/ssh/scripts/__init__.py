"""The shell scripts that are run on a machine: probe, link, install, look, remove."""
