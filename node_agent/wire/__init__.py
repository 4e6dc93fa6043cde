"""The wire contract: what the coordinator and a node say to each other, and nothing else."""
