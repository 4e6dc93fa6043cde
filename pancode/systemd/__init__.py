"""Units of systemd and launchd."""
