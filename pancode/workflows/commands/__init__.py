"""Commands for batches, chains and races: start a workflow, wait for it, and show it."""
