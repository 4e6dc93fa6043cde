"""Reports to other systems: notices, webhooks and traces."""
