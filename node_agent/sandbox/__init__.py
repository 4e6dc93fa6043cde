"""The wall around what an agent runs: what it may see and write, whether this machine can build it."""
