"""Reports to the outside world: notices, webhooks, traces."""
