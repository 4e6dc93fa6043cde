"""The coordinator as a systemd user service, so that it comes back after a reboot."""
