"""One attempt from its order to its receipt: decisions, the procedure, and the ports that it needs."""
