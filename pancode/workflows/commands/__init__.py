"""Commands for batches, chains and races: start one, wait for it, show it."""
