"""One attempt from its job to its receipt: decisions, the procedure, and the ports that it needs."""
