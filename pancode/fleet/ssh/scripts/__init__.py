"""The shell scripts that are run on a node: probe, link, install, check, remove."""
