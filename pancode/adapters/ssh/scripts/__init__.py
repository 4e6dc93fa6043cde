"""The shell scripts that are run on a machine: its probe and link, installing, looking, removing."""
